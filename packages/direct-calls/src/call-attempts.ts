import { setTimeout as pause } from "node:timers/promises";
import type { DescMethod } from "@bufbuild/protobuf";
import { type Directory, type FoundService, keyText, type ServiceKey } from "@hms/directory";
import { type CallOptions, HmsError, type Metadata, type Transport } from "@hms/kernel";
import { failureKind, isRepeatable } from "./failure-kind.ts";
import type { InstanceEndpoint } from "./instance-endpoint.ts";
import type { ServiceEndpoints } from "./service-endpoints.ts";

/** How often a call moves on from instances that did not take it: that costs them nothing. */
const MOST_MOVES = 4;
const FIRST_PAUSE_MS = 20;
/** A callee that asks for more patience than this is not waited for. */
const LONGEST_PAUSE_MS = 2_000;

/** Tells the edge where the called service lives. */
export const ENVIRONMENT_METADATA = "x-hms-environment";

/** Names the replica that is to take the call, and no other. */
const REPLICA_METADATA = "x-hms-replica";

const NONE: readonly InstanceEndpoint[] = [];

/** What the calls of one service stand on. */
export interface CallGround {
  readonly key: ServiceKey;
  readonly directory: Directory;
  readonly endpoints: ServiceEndpoints;
  /** Takes the calls to instances for which there is no ticket; undefined: they are called without one. */
  readonly edge: Transport | undefined;
  /** "edge": the edge takes every call; undefined: tickets decide. */
  readonly always: "edge" | undefined;
  readonly maxRetries: number;
}

/** One try to make a call. */
export interface Attempt {
  readonly transport: Transport;
  /** Undefined if the edge takes the call. */
  readonly endpoint: InstanceEndpoint | undefined;
  readonly options: CallOptions;
}

/** The tries of one call: where each goes, and whether another follows. */
export class CallAttempts {
  readonly #ground: CallGround;
  readonly #method: DescMethod;
  readonly #options: CallOptions;
  readonly #deadlineAt: number | undefined;
  #tried: readonly InstanceEndpoint[] = NONE;
  #moves = 0;
  #retries = 0;
  #renewed = false;
  #inJson: readonly InstanceEndpoint[] = NONE;
  #first = true;

  constructor(ground: CallGround, method: DescMethod, options: CallOptions = {}) {
    this.#ground = ground;
    this.#method = method;
    this.#options = options;
    const { timeoutMs, context } = options;
    const inherited = context?.deadlineAt;
    const own = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
    this.#deadlineAt = own === undefined ? inherited : Math.min(own, inherited ?? own);
    ground.endpoints.budget.deposit();
  }

  /** The next try, at once where the directory knows the service. @throws HmsError if there is nobody to call */
  next(): Attempt | Promise<Attempt> {
    const { directory, key, edge, always } = this.#ground;
    if (edge !== undefined && always === "edge") return this.#byEdge(edge);
    const asked = directory.lookup(key, this.#options.context?.principal);
    return asked instanceof Promise ? this.#inTime(asked).then((found) => this.#at(found)) : this.#at(asked);
  }

  #at(found: FoundService): Attempt {
    const { key, edge } = this.#ground;
    if (edge !== undefined && found.tickets.size === 0) return this.#byEdge(edge);
    const { endpoints } = this.#ground;
    const replica = this.#options.metadata?.[REPLICA_METADATA];
    const endpoint =
      replica === undefined
        ? (endpoints.pick(found, this.#tried) ?? endpoints.pick(found, NONE))
        : (endpoints.ofReplica(found, replica) ?? notRegistered(key, replica));
    if (edge !== undefined && endpoint?.isAbsent) return this.#byEdge(edge);
    const transport = endpoint?.channel();
    if (!endpoint || !transport) {
      if (edge !== undefined) return this.#byEdge(edge);
      throw unreachable(key, found);
    }
    const ticket = found.tickets.get(endpoint.instanceId)?.metadata;
    return { transport, endpoint, options: this.#optionsNow(this.#withTicket(ticket)) };
  }

  /** The edge decides by itself, and calls what this program has no address for. */
  #byEdge(edge: Transport): Attempt {
    const metadata = { ...this.#options.metadata, [ENVIRONMENT_METADATA]: this.#ground.key.environment };
    return { transport: edge, endpoint: undefined, options: this.#optionsNow(metadata) };
  }

  #withTicket(ticket: Metadata | undefined): Metadata | undefined {
    const { metadata } = this.#options;
    // The ticket's own object, so that a transport can keep what it made of it.
    return metadata === undefined || ticket === undefined ? (metadata ?? ticket) : { ...metadata, ...ticket };
  }

  /** A lookup is shared by all who wait for it, so each watches for its own end. */
  async #inTime(asked: Promise<FoundService>): Promise<FoundService> {
    const ended = this.#endSignal();
    if (ended === undefined) return asked;
    ended.throwIfAborted();
    let stop = () => {};
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(this.#endError(ended));
      ended.addEventListener("abort", stop, { once: true });
    });
    try {
      return await Promise.race([asked, aborted]);
    } finally {
      ended.removeEventListener("abort", stop);
    }
  }

  #endSignal(): AbortSignal | undefined {
    const { signal, context } = this.#options;
    const cancelled = signal ?? (context?.cancellable ? context.signal : undefined);
    if (this.#deadlineAt === undefined) return cancelled;
    const late = AbortSignal.timeout(Math.max(0, Math.ceil(this.#deadlineAt - performance.now())));
    return cancelled ? AbortSignal.any([cancelled, late]) : late;
  }

  #endError(signal: AbortSignal): HmsError {
    return HmsError.from(signal.reason);
  }

  #optionsNow(metadata: Metadata | undefined): CallOptions {
    const options = { ...this.#options, metadata };
    // The first try has the whole time; later ones have what is left.
    if (this.#first || this.#deadlineAt === undefined) {
      this.#first = false;
      return options;
    }
    return { ...options, timeoutMs: Math.max(0, this.#deadlineAt - performance.now()) };
  }

  /** Waits until the next try may be made. @throws the error if there is to be none */
  async after({ endpoint }: Attempt, error: HmsError): Promise<void> {
    const { context, signal } = this.#options;
    if (signal?.aborted || this.#isOver(0)) throw error;
    const kind = failureKind(error);
    if (kind === "ticket") return this.#renew(error);
    if (kind === "codec") return this.#speakJson(endpoint, error);
    if (kind === "final" || !this.#mayRepeat(kind)) throw error;
    const again = endpoint !== undefined && this.#tried.includes(endpoint);
    if (endpoint) this.#tried = [...this.#tried, endpoint];
    const pauseMs = this.#pauseMs(error, again);
    if (this.#isOver(pauseMs)) throw error;
    if (pauseMs > 0) await pause(pauseMs, undefined, { signal: signal ?? context?.signal });
  }

  /** Calls that began in protobuf at the same time all end so; each is made again once at every instance. */
  #speakJson(endpoint: InstanceEndpoint | undefined, error: HmsError): void {
    if (endpoint === undefined || this.#inJson.includes(endpoint)) throw error;
    endpoint.speakJson();
    this.#inJson = [...this.#inJson, endpoint];
  }

  async #renew(error: HmsError): Promise<void> {
    if (this.#renewed) throw error;
    this.#renewed = true;
    const { directory, key } = this.#ground;
    await this.#inTime(directory.renew(key, this.#options.context?.principal));
  }

  #mayRepeat(kind: "not-served" | "unsure" | "unavailable"): boolean {
    if (kind === "not-served") return this.#moves++ < MOST_MOVES;
    if (this.#retries >= this.#ground.maxRetries || !isRepeatable(this.#method)) return false;
    if (!this.#ground.endpoints.budget.withdraw(performance.now())) return false;
    this.#retries += 1;
    return true;
  }

  /** Another instance is asked at once; the same one after a pause, longer each time. */
  #pauseMs({ details }: HmsError, again: boolean): number {
    const asked = details.retryAfterMs ?? 0;
    if (asked > LONGEST_PAUSE_MS) return Number.POSITIVE_INFINITY;
    const own = again ? FIRST_PAUSE_MS * 2 ** (this.#moves + this.#retries) * (0.5 + Math.random()) : 0;
    return Math.max(asked, own);
  }

  #isOver(inMs: number): boolean {
    if (inMs === Number.POSITIVE_INFINITY) return true;
    return this.#deadlineAt !== undefined && performance.now() + inMs >= this.#deadlineAt;
  }
}

function notRegistered(key: ServiceKey, replica: string): never {
  const message = `No instance of ${keyText(key)} says that it is the replica ${replica}. Ask again once it has registered, or leave out ${REPLICA_METADATA}.`;
  throw new HmsError("UNAVAILABLE", message, { reason: "REPLICA_NOT_REGISTERED" });
}

function unreachable(key: ServiceKey, { entry }: FoundService): HmsError {
  const addresses = entry.instances.map(({ address }) => address).join(", ");
  return new HmsError(
    "UNAVAILABLE",
    `No instance of ${keyText(key)} can be called from here (${addresses || "none"}): this program speaks none of their ` +
      "addresses. Let the service also listen on one that it does, or call through the edge.",
    { reason: "NO_USABLE_ADDRESS" },
  );
}
