import { LatencyEstimate } from "./latency-estimate.ts";
import { RevisionCounts } from "./revision-counts.ts";
import type { BreakerTerms, EndpointEntry, EndpointState } from "./routing-table.ts";
import { UpstreamConnection, type UpstreamOwner, type UpstreamUser } from "./upstream-connection.ts";

const FIRST_EJECTION_MS = 100;
const LONGEST_EJECTION_MS = 30_000;
/** How long an idle connection is kept if the server announces nothing. */
const DEFAULT_IDLE_MS = 4_000;
/** How much earlier than announced a connection is given up. */
const IDLE_MARGIN_MS = 1_000;

/** What is left of an announced keep-alive time after the margin, in milliseconds; 4 s when nothing was announced. */
export function usableIdleMs(announcedMs: number): number {
  if (announcedMs < 0) return DEFAULT_IDLE_MS;
  return Math.max(announcedMs - IDLE_MARGIN_MS, announcedMs / 2);
}

/** Whether a service says with this status that it cannot answer anything at the moment. */
export function isUnwell(status: number): boolean {
  return status >= 502 && status <= 504;
}

/** The lasting state of one endpoint: its connections, what runs on it, how fast it answers, whether it is ejected. */
export class Endpoint implements UpstreamOwner {
  readonly id: string;
  readonly socketPath: string | undefined;
  readonly isOutside: boolean;
  readonly latency = new LatencyEstimate();
  readonly connections = new Set<UpstreamConnection>();
  readonly #idle: UpstreamConnection[] = [];
  readonly #maxHeadBytes: number;
  host: string;
  port: number;
  state: EndpointState;
  weight: number;
  revision: number;
  /** What is counted of its revision: of all its service's endpoints of that revision together, once it has a service. */
  counts: RevisionCounts;
  inFlight = 0;
  /** When it stopped taking new requests, in `performance.now()` time. */
  drainingSince = 0;
  /** New requests avoid it until then. */
  ejectedUntil = 0;
  #failures = 0;
  /** Bad answers in a row. */
  #badAnswers = 0;
  /** For how long it is left alone because of them; 0: it is not. */
  #leftAloneMs = 0;

  constructor(entry: EndpointEntry, maxHeadBytes: number) {
    this.counts = new RevisionCounts(entry.revision);
    this.id = entry.id;
    this.host = entry.host;
    this.port = entry.port;
    this.socketPath = entry.socketPath;
    this.isOutside = entry.isOutside === true;
    this.state = entry.state;
    this.weight = entry.weight;
    this.revision = entry.revision;
    this.#maxHeadBytes = maxHeadBytes;
  }

  /** Takes over a newer entry of the same id. */
  update(entry: EndpointEntry, now: number): void {
    if (entry.host !== this.host || entry.port !== this.port) {
      this.host = entry.host;
      this.port = entry.port;
      this.closeIdle();
      this.ejectedUntil = 0;
      this.#failures = 0;
      this.#badAnswers = 0;
      this.#leftAloneMs = 0;
    }
    if (entry.state === "draining") this.drain(now);
    else this.state = "active";
    this.weight = entry.weight;
    this.revision = entry.revision;
  }

  /** Takes no new requests from now on; idle connections are closed. */
  drain(now: number): void {
    if (this.state === "active" || this.drainingSince === 0) this.drainingSince = now;
    this.state = "draining";
    this.closeIdle();
  }

  /** An idle connection that is still good, or null. The one used last comes first, so that surplus ones age out. */
  takeIdle(user: UpstreamUser, now: number): UpstreamConnection | null {
    while (true) {
      const connection = this.#idle.pop();
      if (connection === undefined) return null;
      if (connection.usableUntil > now && connection.socket.writable) {
        connection.take(user);
        return connection;
      }
      connection.destroy();
    }
  }

  /** Starts a new connection for a user. */
  connect(user: UpstreamUser): UpstreamConnection {
    const connection = new UpstreamConnection(this, user, this.#maxHeadBytes);
    this.connections.add(connection);
    return connection;
  }

  /** Takes back a connection whose response has ended; closes it if it may not be used again. */
  giveBack(connection: UpstreamConnection, now: number): void {
    if (connection.isGone) return;
    const { head } = connection;
    if (!head.keepAlive || this.state !== "active") {
      connection.destroy();
      return;
    }
    connection.release();
    connection.usableUntil = now + usableIdleMs(head.keepAliveTimeoutMs);
    this.#idle.push(connection);
  }

  onConnectionGone(connection: UpstreamConnection): void {
    this.connections.delete(connection);
    if (connection.isBusy) return;
    const position = this.#idle.indexOf(connection);
    if (position >= 0) this.#idle.splice(position, 1);
  }

  /** How many of its connections are idle. */
  get idleConnections(): number {
    return this.#idle.length;
  }

  /** Closes what is idle. */
  closeIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  /** Closes idle connections whose time is over. */
  closeExpired(now: number): void {
    while (this.#idle.length > 0 && (this.#idle[0] as UpstreamConnection).usableUntil <= now) {
      (this.#idle.shift() as UpstreamConnection).destroy();
    }
  }

  /** The head of a response has come. */
  noteHead(elapsedMs: number, now: number): void {
    this.latency.observe(elapsedMs, now);
    this.counts.countHead(elapsedMs);
  }

  /** It let a request in: the ejection, if any, is over. */
  noteReached(): void {
    if (this.#failures === 0) return;
    this.#failures = 0;
    if (this.#leftAloneMs === 0) this.ejectedUntil = 0;
  }

  /** Whether it gets nothing at all for now, because it has answered badly. */
  isLeftAlone(now: number): boolean {
    return this.#leftAloneMs > 0 && this.ejectedUntil > now;
  }

  /** It has answered, well or badly. Answers whether it is left alone from now on. */
  noteAnswer(isGood: boolean, { failures, openMs }: BreakerTerms, now: number): boolean {
    if (isGood) {
      if (this.#leftAloneMs > 0) this.ejectedUntil = 0;
      this.#badAnswers = 0;
      this.#leftAloneMs = 0;
      return false;
    }
    this.#badAnswers++;
    const isTrial = this.#leftAloneMs > 0;
    if (!isTrial && this.#badAnswers < failures) return false;
    this.#leftAloneMs = openMs;
    this.ejectedUntil = now + openMs;
    return !isTrial;
  }

  /** It could not be reached: avoided for 100 ms, twice as long each further time, at most 30 s. */
  eject(now: number): void {
    const backoff = Math.min(FIRST_EJECTION_MS * 2 ** this.#failures, LONGEST_EJECTION_MS);
    this.#failures++;
    this.ejectedUntil = now + backoff * (0.75 + Math.random() / 2);
  }

  /** The time of an ejection is over: lets one request try, and keeps the others away until it is known how that went. */
  beginTrial(now: number): void {
    if (this.#leftAloneMs > 0) this.ejectedUntil = now + this.#leftAloneMs;
    if (this.#failures === 0) return;
    this.ejectedUntil = now + FIRST_EJECTION_MS * 2 ** Math.min(this.#failures, 8);
  }
}
