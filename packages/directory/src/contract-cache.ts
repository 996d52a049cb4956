import { createFileRegistry, type DescService, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { registry } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { packageOf } from "./service-key.ts";
import type { RegistryClient } from "./service-watch.ts";

const CALL_TIMEOUT_MS = 5_000;
/** Contracts kept although no service names them any more. */
const MOST_UNUSED = 100;

/** What a service version promises, as the registry keeps it. */
export interface ServiceContract {
  readonly digest: string;
  readonly files: FileRegistry;
  /** The services of its package. */
  readonly services: readonly DescService[];
}

/** Contracts by digest: the same content is fetched and read once, wherever it is used. */
export class ContractCache {
  readonly #registry: RegistryClient;
  readonly #loaded = new Map<string, ServiceContract>();
  readonly #loading = new Map<string, Promise<ServiceContract>>();

  constructor(client: RegistryClient) {
    this.#registry = client;
  }

  /** The contract if it is here already. */
  peek(digest: string): ServiceContract | undefined {
    return this.#loaded.get(digest);
  }

  /**
   * The contract of an entry.
   * @throws HmsError UNAVAILABLE if it is not here and the registry is away, INTERNAL if it cannot be read.
   */
  get(entry: registry.ServiceEntry): ServiceContract | Promise<ServiceContract> {
    const known = this.#loaded.get(entry.contractDigest);
    if (known) return known;
    const digest = entry.contractDigest;
    let loading = this.#loading.get(digest);
    if (loading === undefined) {
      loading = this.#load(entry).finally(() => this.#loading.delete(digest));
      this.#loading.set(digest, loading);
    }
    return loading;
  }

  async #load(entry: registry.ServiceEntry): Promise<ServiceContract> {
    const { serviceId, version, environment } = entry;
    const answer = await this.#registry.getContract(
      { serviceId, version, environment },
      { timeoutMs: CALL_TIMEOUT_MS },
    );
    const contract = readContractOf(entry, answer);
    // Registered anew in between: the next event of the watch names the new digest.
    this.#loaded.set(contract.digest, contract);
    return contract;
  }

  /** Forgets contracts that nobody names, but for the newest hundred. */
  keep(inUse: ReadonlySet<string>): void {
    const unused = [...this.#loaded.keys()].filter((digest) => !inUse.has(digest));
    for (const digest of unused.slice(0, Math.max(0, unused.length - MOST_UNUSED))) this.#loaded.delete(digest);
  }
}

/** Reads a contract as the registry answers it. @throws HmsError INTERNAL if it cannot be read */
export function readContractOf(
  entry: registry.ServiceEntry,
  answer: Pick<registry.GetContractResponse, "fileDescriptorSet" | "contractDigest">,
): ServiceContract {
  const packageName = packageOf(entry);
  try {
    const files = createFileRegistry(fromBinary(FileDescriptorSetSchema, answer.fileDescriptorSet));
    const all = [...files.files];
    const own = all.filter(({ proto }) => proto.package === packageName || proto.package === entry.serviceId);
    return { digest: answer.contractDigest, files, services: own.flatMap(({ services }) => services) };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HmsError(
      "INTERNAL",
      `The contract of ${entry.serviceId} ${entry.version} cannot be read: ${why}. Register the service anew.`,
      { cause },
    );
  }
}
