import { createHash, createHmac, randomBytes } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import {
  type CallContext,
  ChangeSignal,
  HmsError,
  implement,
  principalName,
  type ServiceImplementation,
  type ServiceRegistration,
} from "@hms/kernel";
import { keyText, type ServiceKey } from "./service-key.ts";

const { CURRENT, REMOVED, REVOKED, SYNCED } = registry.WatchEventKind;
type Event = MessageInitShape<typeof registry.WatchResponseSchema>;

/** What a test says of an instance. */
export interface TestInstance {
  readonly instanceId: string;
  readonly address: string;
  readonly others?: readonly string[];
  /** With it the instance gets tickets. */
  readonly ticketKey?: Buffer;
}

interface Kept {
  key: ServiceKey;
  instances: readonly TestInstance[];
  contract: Uint8Array | undefined;
}

interface Watcher {
  environment: string;
  pattern: string;
  events: Event[];
}

/** A registry that keeps nothing: tests change it as they need, and make it go away. */
export class MemoryRegistry {
  /** How often each method was called. */
  readonly calls = { lookup: 0, getContract: 0, watch: 0 };
  /** How often instances were registered or renewed. */
  registrations = 0;
  /** What instances have told of their calls. */
  readonly reported: registry.CallRecord[] = [];
  /** How often instances are told to renew. */
  renewMs = 10_000;
  /** Makes contracts of methods that are described by schemas; default: they have none. */
  contractOf: (request: registry.RegisterRequest) => Uint8Array | undefined = () => undefined;
  /** True: every call fails with UNAVAILABLE and watches break. */
  #away = false;
  ticketLifeMs = 60_000;
  /** What tickets allow; empty: none are issued. */
  allowed: Record<string, string> = { "*": "metadata" };
  readonly #kept = new Map<string, Kept>();
  readonly #watchers = new Set<Watcher>();
  readonly #changed = new ChangeSignal();
  #epoch = 0;
  #issuableFromS = 0;
  #revocation: MessageInitShape<typeof registry.RevocationSchema> = {};

  /** Registers a service or replaces it. */
  put(key: ServiceKey, instances: readonly TestInstance[], contract?: Uint8Array): void {
    const kept = { key, instances, contract: contract ?? this.#kept.get(keyText(key))?.contract };
    this.#kept.set(keyText(key), kept);
    this.#tell(key, { kind: CURRENT, service: entryOf(kept) });
  }

  remove(key: ServiceKey): void {
    const kept = this.#kept.get(keyText(key));
    this.#kept.delete(keyText(key));
    if (kept) this.#tell(key, { kind: REMOVED, service: entryOf(kept) });
  }

  /** Revokes what has been issued until now. */
  revoke(about: { principal?: string; serviceId?: string }): void {
    this.#issuableFromS = Math.ceil(Date.now() / 1000);
    this.#revocation = { ...about, issuedBefore: timestampFromMs(this.#issuableFromS * 1000) };
    this.revokeAgain();
  }

  /** Tells of the last revocation again, as watches are told that begin after it. */
  revokeAgain(): void {
    const event = { kind: REVOKED, revocation: this.#revocation };
    for (const watcher of this.#watchers) watcher.events.push(event);
    this.#changed.notify();
  }

  get away(): boolean {
    return this.#away;
  }

  set away(away: boolean) {
    this.#away = away;
    if (away) this.breakWatches();
  }

  /** Ends every watch with UNAVAILABLE. */
  breakWatches(): void {
    this.#epoch += 1;
    this.#changed.notify();
  }

  #tell(key: ServiceKey, event: Event): void {
    for (const watcher of this.#watchers) if (concerns(watcher, key)) watcher.events.push(event);
    this.#changed.notify();
  }

  /** The registry as a service of a kernel. */
  get registration(): ServiceRegistration {
    const unused = () => {
      throw new HmsError("UNIMPLEMENTED", "Not part of this test.");
    };
    const all = Object.fromEntries(registry.RegistryService.methods.map(({ localName }) => [localName, unused]));
    const own: Partial<ServiceImplementation<typeof registry.RegistryService>> = {
      lookup: (request, context) => this.#lookup(request, context),
      getContract: (request) => this.#getContract(request),
      watch: (request, context) => this.#watch(request, context),
      list: ({ environment }) => {
        const kept = [...this.#kept.values()].filter(({ key }) => key.environment === (environment || "default"));
        return { services: kept.map(entryOf) };
      },
      register: (request) => this.#register(request),
      unregister: (request) => this.#unregister(request),
      reportCalls: ({ calls }) => {
        this.reported.push(...calls);
        return {};
      },
    };
    return implement(registry.RegistryService, { ...all, ...own } as never) as ServiceRegistration;
  }

  #register(request: registry.RegisterRequest) {
    this.#throwIfAway();
    this.registrations += 1;
    const { instanceId, address, alternativeAddresses } = request;
    const key = keyOf(request);
    const others = this.#kept.get(keyText(key))?.instances ?? [];
    const known = others.find((one) => one.instanceId === instanceId);
    const ticketKey = known?.ticketKey ?? randomBytes(32);
    const instance = { instanceId, address, others: alternativeAddresses, ticketKey };
    const contract = request.fileDescriptorSet.length > 0 ? request.fileDescriptorSet : this.contractOf(request);
    this.put(key, [...others.filter((one) => one !== known), instance], contract);
    return { ticketKey: new Uint8Array(ticketKey), renewInterval: durationFromMs(this.renewMs) };
  }

  #unregister({ instanceId, ...request }: registry.UnregisterRequest) {
    this.#throwIfAway();
    const key = keyOf(request);
    const left = this.#kept.get(keyText(key))?.instances.filter((one) => one.instanceId !== instanceId) ?? [];
    if (left.length > 0) this.put(key, left);
    else this.remove(key);
    return {};
  }

  #throwIfAway(): void {
    if (this.#away) throw new HmsError("UNAVAILABLE", "The registry is away.", { reason: "NOT_CONNECTED" });
  }

  #find(request: ServiceKey): Kept {
    this.#throwIfAway();
    const key = keyOf(request);
    const kept = this.#kept.get(keyText(key));
    if (kept) return kept;
    throw new HmsError("NOT_FOUND", `No service ${key.serviceId} ${key.version}.`, { reason: "SERVICE_UNKNOWN" });
  }

  #lookup(request: registry.LookupRequest, context: CallContext) {
    this.calls.lookup += 1;
    const kept = this.#find(request);
    const withKey = kept.instances.filter(({ ticketKey }) => ticketKey && Object.keys(this.allowed).length > 0);
    const tickets = withKey.map((instance) => this.#ticket(kept.key, instance, principalName(context.principal)));
    return { service: entryOf(kept), tickets };
  }

  #ticket(key: ServiceKey, { instanceId, ticketKey = Buffer.alloc(0) }: TestInstance, sub: string) {
    const iat = Math.max(Math.floor(Date.now() / 1000), this.#issuableFromS);
    const exp = iat + Math.ceil(this.ticketLifeMs / 1000);
    const id = randomBytes(6).toString("hex");
    const claims = {
      id,
      aud: `${keyText(key)}/${instanceId}`,
      sub,
      mfa: false,
      roles: [],
      iat,
      exp,
      mth: this.allowed,
    };
    const text = `hms1.${Buffer.from(JSON.stringify(claims)).toString("base64url")}`;
    const signature = createHmac("sha256", ticketKey).update(text).digest("base64url");
    const expiresAt = timestampFromMs(Date.now() + this.ticketLifeMs);
    return { instanceId, ticket: `${text}.${signature}`, expiresAt };
  }

  #getContract(request: registry.GetContractRequest) {
    this.calls.getContract += 1;
    const { contract } = this.#find(request);
    if (contract === undefined) throw new HmsError("NOT_FOUND", "No contract.");
    return { fileDescriptorSet: contract, contractDigest: digestOf(contract) };
  }

  async *#watch({ environment, pattern }: registry.WatchRequest, { signal }: CallContext) {
    this.#throwIfAway();
    this.calls.watch += 1;
    const epoch = this.#epoch;
    const watcher: Watcher = { environment: environment || "default", pattern: pattern || "*", events: [] };
    this.#watchers.add(watcher);
    try {
      for (const kept of this.#kept.values()) {
        if (concerns(watcher, kept.key)) yield { kind: CURRENT, service: entryOf(kept) };
      }
      yield { kind: SYNCED };
      for (;;) {
        if (this.#away || epoch !== this.#epoch) throw new HmsError("UNAVAILABLE", "The watch broke.");
        const event = watcher.events.shift();
        if (event) yield event;
        else await this.#changed.next(signal);
      }
    } finally {
      this.#watchers.delete(watcher);
    }
  }
}

function keyOf({ environment, serviceId, version }: ServiceKey): ServiceKey {
  return { environment: environment || "default", serviceId, version: version || "v1" };
}

function concerns({ environment, pattern }: Watcher, key: ServiceKey): boolean {
  return environment === key.environment && (pattern === "*" || pattern === key.serviceId);
}

function digestOf(contract: Uint8Array): string {
  return createHash("sha256").update(contract).digest("hex");
}

function entryOf({ key, instances, contract }: Kept): registry.ServiceEntry {
  return create(registry.ServiceEntrySchema, {
    ...key,
    hasContract: contract !== undefined,
    contractDigest: contract ? digestOf(contract) : "",
    instances: instances.map(({ instanceId, address, others = [] }) => ({
      instanceId,
      address,
      alternativeAddresses: [...others],
      state: registry.InstanceState.AVAILABLE,
    })),
  });
}
