import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { ffiOptions } from "@hms/contracts";
import { ruleOf } from "@hms/descriptors";
import { type Directory, keyOfContract, type ServiceContract, type ServiceKey } from "@hms/directory";
import {
  type CallContext,
  type ChangeSignal,
  forwarding,
  type Metadata,
  type MethodEntry,
  type MethodName,
  type MethodSource,
  type Transport,
} from "@hms/kernel";
import { ENVIRONMENT_METADATA } from "./call-attempts.ts";
import type { DirectCalls } from "./direct-calls.ts";
import { UntypedContracts } from "./untyped-contracts.ts";

const MOST_LOADING = 8;

/** What can be called through a kernel, and what happened to it. */
export interface Elsewhere extends MethodSource {
  /** Settles when the contracts of an environment's services have been read once. @throws HmsError UNAVAILABLE */
  loaded(environment: string): Promise<void>;
}

/**
 * Makes the services of a directory callable through a kernel: each call is carried on, on behalf of the principal that
 * the kernel has let in. A contract that changes changes its methods with the next call.
 */
export function createElsewhere(directory: Directory, calls: DirectCalls): Elsewhere {
  return new DirectoryMethods(directory, calls);
}

/** The entries of one contract in one environment. */
type Entries = ReadonlyMap<string, MethodEntry>;

class DirectoryMethods implements Elsewhere {
  readonly #directory: Directory;
  readonly #calls: DirectCalls;
  readonly #untyped = new UntypedContracts();
  readonly #entries = new WeakMap<ServiceContract, Map<string, Entries>>();

  constructor(directory: Directory, calls: DirectCalls) {
    this.#directory = directory;
    this.#calls = calls;
  }

  get changed(): ChangeSignal {
    return this.#directory.changed;
  }

  find(name: MethodName): MethodEntry | undefined | Promise<MethodEntry | undefined> {
    const key = keyOfContract(name.service, name.environment);
    if (key.serviceId === "") return undefined;
    if (!this.#directory.isCurrent(name.environment)) return this.#findLater(name, key);
    const contract = this.#contract(key, name);
    if (contract instanceof Promise) return contract.then((loaded) => this.#entry(loaded, key, name));
    return this.#entry(contract, key, name);
  }

  /** The watch is not there yet, or is broken: what is known counts, once anything can be. */
  async #findLater(name: MethodName, key: ServiceKey): Promise<MethodEntry | undefined> {
    await this.#directory.follow(name.environment);
    return this.#entry(await this.#contract(key, name), key, name);
  }

  #contract(key: ServiceKey, name: MethodName): ServiceContract | undefined | Promise<ServiceContract> {
    const entry = this.#directory.entry(key);
    if (entry === undefined) return undefined;
    return entry.hasContract ? this.#directory.contract(entry) : this.#untyped.contract(key, name.method);
  }

  #entry(contract: ServiceContract | undefined, key: ServiceKey, name: MethodName): MethodEntry | undefined {
    return contract && this.#entriesOf(contract, key).get(`${name.service}/${name.method}`);
  }

  #entriesOf(contract: ServiceContract, key: ServiceKey): Entries {
    const byEnvironment = this.#entries.get(contract) ?? new Map<string, Entries>();
    this.#entries.set(contract, byEnvironment);
    // Two versions of a service may have the same contract without a version in its package.
    const at = `${key.environment} ${key.version}`;
    let entries = byEnvironment.get(at);
    if (entries === undefined) {
      const transport = this.#calls.transport(key);
      const methods = contract.services.flatMap((service) => service.methods);
      entries = new Map(methods.map((desc) => entryOf(desc, { key, transport })).map((entry) => [entry.name, entry]));
      byEnvironment.set(at, entries);
    }
    return entries;
  }

  *services(environment: string): Generator<DescService> {
    void this.#directory.follow(environment);
    for (const entry of this.#directory.entries(environment)) {
      const contract = this.#directory.contract(entry);
      if (contract instanceof Promise) this.#announceWhenLoaded(contract);
      else yield* contract?.services ?? [];
    }
  }

  #announceWhenLoaded(loading: Promise<unknown>): void {
    // Whoever waits for changes asks again; a contract that cannot be read is told of by calls.
    loading.then(
      () => this.changed.notify(),
      () => {},
    );
  }

  async loaded(environment: string): Promise<void> {
    await this.#directory.follow(environment);
    const entries = this.#directory.entries(environment)[Symbol.iterator]();
    const load = async () => {
      for (let next = entries.next(); !next.done; next = entries.next()) await this.#directory.contract(next.value);
    };
    await Promise.all(Array.from({ length: MOST_LOADING }, load));
  }
}

function entryOf(desc: DescMethod, { key, transport }: { key: ServiceKey; transport: Transport }): MethodEntry {
  const rule = ruleOf(desc);
  return {
    name: `${desc.parent.typeName}/${desc.name}`,
    environment: key.environment,
    desc,
    rule,
    mutates: rule.idempotency !== ffiOptions.Idempotency.NO_SIDE_EFFECTS,
    handler: forwarding(desc, transport, carriedOn),
  };
}

/** All its metadata, so that the callee sees what the caller has sent; but the trace goes on from the span made here. */
function carriedOn({ metadata, traceparent }: CallContext): Metadata {
  const { [ENVIRONMENT_METADATA]: _here, traceparent: _callers, ...others } = metadata;
  return traceparent === undefined ? others : { ...others, traceparent };
}
