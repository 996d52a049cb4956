import { timestampMs } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { ServiceKey } from "./service-key.ts";
import type { RegistryClient, ServiceWatch } from "./service-watch.ts";
import { type HeldTicket, TicketSet } from "./ticket-set.ts";

const CALL_TIMEOUT_MS = 5_000;
/** While the registry does not answer, it is asked again this often at most. */
const PAUSE_AFTER_FAILURE_MS = 1_000;

/** How long answers are used. */
export interface CacheTimes {
  /** How long what is known of a service is used while the registry is away, and kept while nobody uses it. */
  readonly cacheTtlMs: number;
  /** What is used is asked for again after this time, even if nothing seems to have changed. */
  readonly refreshIntervalMs: number;
  /** How long "there is no such service" holds. */
  readonly negativeTtlMs: number;
}

/** Where a service answers, and what its caller may do there. */
export interface FoundService {
  /** The same object as long as nothing has changed; its instances are those that are available. */
  readonly entry: registry.ServiceEntry;
  /** By instance id; an instance without one is called through the edge. */
  readonly tickets: ReadonlyMap<string, HeldTicket>;
}

/** What one caller has been told about a service. */
interface Answer {
  found: FoundService;
  tickets: TicketSet;
  fetchedAt: number;
  /** Not refreshed before: the registry did not answer. */
  notBefore: number;
}

/** Everything known about one service version. */
export class ServiceSlot {
  readonly key: ServiceKey;
  usedAt = performance.now();
  readonly #openWatch: () => ServiceWatch;
  #watch: ServiceWatch | undefined;
  readonly #times: CacheTimes;
  readonly #answers = new Map<string, Answer>();
  readonly #asking = new Map<string, Promise<FoundService>>();
  #refusal: { error: HmsError; until: number } | undefined;

  /** `openWatch` is asked for the watch that tells of this service once there is one. */
  constructor(key: ServiceKey, openWatch: () => ServiceWatch, times: CacheTimes) {
    this.key = key;
    this.#openWatch = openWatch;
    this.#times = times;
  }

  /** The watch that tells of this service, once somebody has asked for it with success. */
  get watch(): ServiceWatch | undefined {
    return this.#watch;
  }

  /** What a caller knows, at once if it is here. @throws HmsError as the registry's lookup does. */
  find(caller: string, client: () => RegistryClient): FoundService | Promise<FoundService> {
    const now = performance.now();
    this.usedAt = now;
    const answer = this.#answers.get(caller);
    if (answer !== undefined && this.#usable(answer, now)) {
      const due = now >= answer.tickets.refreshAt || answer.found.entry.instances.some(this.#lacksTicket, answer);
      if (due && now >= answer.notBefore) this.#refresh(caller, answer, client());
      return answer.found;
    }
    if (this.#refusal !== undefined && now < this.#refusal.until) throw this.#refusal.error;
    return this.ask(caller, client());
  }

  #usable({ found, tickets, fetchedAt }: Answer, now: number): boolean {
    if (found.entry.instances.length === 0 || now >= tickets.endsAt) return false;
    return this.#watch?.current || now < fetchedAt + this.#times.cacheTtlMs;
  }

  /** True for an instance that is newer than the tickets. */
  #lacksTicket(this: Answer, { instanceId }: registry.ServiceInstance): boolean {
    return this.tickets.byInstance.size > 0 && !this.tickets.byInstance.has(instanceId);
  }

  #refresh(caller: string, answer: Answer, client: RegistryClient): void {
    answer.notBefore = performance.now() + PAUSE_AFTER_FAILURE_MS;
    // Whoever calls has what is needed; what went wrong shows when it has run out.
    void this.ask(caller, client).catch(() => {});
  }

  /** Asks the registry, once for all who wait. @throws HmsError */
  ask(caller: string, client: RegistryClient): Promise<FoundService> {
    let asking = this.#asking.get(caller);
    if (asking === undefined) {
      asking = this.#lookup(caller, client).finally(() => this.#asking.delete(caller));
      this.#asking.set(caller, asking);
    }
    return asking;
  }

  async #lookup(caller: string, client: RegistryClient): Promise<FoundService> {
    const { refreshIntervalMs, negativeTtlMs } = this.#times;
    try {
      const { service, tickets } = await client.lookup(this.key, { timeoutMs: CALL_TIMEOUT_MS });
      if (service === undefined) throw new HmsError("INTERNAL", "The registry answered a lookup without a service.");
      const set = new TicketSet(tickets, refreshIntervalMs);
      const found = { entry: service, tickets: set.byInstance };
      const now = performance.now();
      this.#answers.set(caller, { found, tickets: set, fetchedAt: now, notBefore: 0 });
      this.#refusal = undefined;
      this.#watch ??= this.#openWatch();
      return found;
    } catch (failure) {
      const error = unlessSilent(HmsError.from(failure));
      if (isAnswer(error)) {
        this.#answers.delete(caller);
        this.#refusal = { error, until: performance.now() + negativeTtlMs };
      }
      throw error;
    }
  }

  /** The service is different now: everybody's answer follows. */
  changed(entry: registry.ServiceEntry | undefined): void {
    this.#refusal = undefined;
    if (entry === undefined) {
      this.#answers.clear();
      return;
    }
    const available = onlyAvailable(entry);
    for (const answer of this.#answers.values()) {
      if (isSame(answer.found.entry, available)) continue;
      answer.found = { entry: available, tickets: answer.tickets.byInstance };
    }
  }

  /** Forgets tickets that a revocation is about. */
  revoked({ principal, serviceId, issuedBefore }: registry.Revocation): void {
    if (serviceId !== "" && serviceId !== this.key.serviceId) return;
    const issuedBeforeS = issuedBefore ? timestampMs(issuedBefore) / 1000 : Number.POSITIVE_INFINITY;
    for (const [caller, { tickets }] of this.#answers) {
      // A watch that begins is told of past revocations too; what was issued since then is good.
      if (tickets.issuedAtS !== undefined && tickets.issuedAtS >= issuedBeforeS) continue;
      if (principal === "" || tickets.subject === undefined || tickets.subject === principal) {
        this.#answers.delete(caller);
      }
    }
  }

  /** Forgets callers whose tickets have ended. */
  sweep(now: number): void {
    for (const [caller, { tickets, fetchedAt }] of this.#answers) {
      if (now >= tickets.endsAt || now >= fetchedAt + this.#times.cacheTtlMs) this.#answers.delete(caller);
    }
  }
}

/** The deadline that has passed here is none that the caller has set. */
function unlessSilent(error: HmsError): HmsError {
  if (error.code !== "DEADLINE_EXCEEDED") return error;
  const message = `The registry has not answered within ${CALL_TIMEOUT_MS / 1000} s, so where the service runs is not known here. Services that were called before go on for a while; see hms-sys doctor.`;
  return new HmsError("UNAVAILABLE", message, { reason: "REGISTRY_SILENT", cause: error });
}

/** True if the registry has said no, false if it could not say anything. */
function isAnswer({ code, details }: HmsError): boolean {
  if (code === "UNAVAILABLE") return details.reason === "NO_INSTANCE_AVAILABLE";
  return code === "NOT_FOUND" || code === "INVALID_ARGUMENT" || code === "PERMISSION_DENIED";
}

/** True if calls go the same way; a lease that was renewed is no change. */
function isSame(one: registry.ServiceEntry, other: registry.ServiceEntry): boolean {
  const { length } = one.instances;
  return (
    one.contractDigest === other.contractDigest && length === other.instances.length && places(one) === places(other)
  );
}

function places({ instances }: registry.ServiceEntry): string {
  return instances
    .map((at) => [at.instanceId, at.share ?? "", at.address, ...at.alternativeAddresses].join(" "))
    .join("\n");
}

function onlyAvailable(entry: registry.ServiceEntry): registry.ServiceEntry {
  const { AVAILABLE } = registry.InstanceState;
  const instances = entry.instances.filter(({ state }) => state === AVAILABLE);
  return instances.length === entry.instances.length ? entry : { ...entry, instances };
}
