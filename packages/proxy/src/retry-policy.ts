import type { TrafficPolicy } from "./routing-table.ts";
import type { UpstreamFailure } from "./upstream-connection.ts";

const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

/** Whether repeating a request of this method does no harm (RFC 9110 §9.2.2, without TRACE). */
export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method);
}

/** How a request failed, as far as repeating it is concerned. */
export interface FailedAttempt {
  failure: UpstreamFailure;
  method: string;
  /** Whether any byte of the request was written to a connection. */
  bytesSent: boolean;
  /** Whether any byte of a response was passed on to the client. */
  responseStarted: boolean;
  /** Whether the whole body sent so far is still at hand. */
  bodyKept: boolean;
  /** Repetitions so far, without those that followed a failed connect. */
  retries: number;
  /** Connections that could not be had so far. */
  connectAttempts: number;
}

/** Attempts to connect, over several endpoints, before a request is given up. */
export const MAX_CONNECT_ATTEMPTS = 4;

/**
 * What to do about a failed attempt: "reconnect" costs the service nothing and needs no budget, "retry" does, "give-up"
 * means that the client has to know.
 */
export function decideRetry(attempt: FailedAttempt, policy: TrafficPolicy): "reconnect" | "retry" | "give-up" {
  const { failure } = attempt;
  if (failure === "timeout" || failure === "malformed" || failure === "silent") return "give-up";
  if (attempt.responseStarted) return "give-up";
  if (!attempt.bytesSent) return attempt.connectAttempts < MAX_CONNECT_ATTEMPTS ? "reconnect" : "give-up";
  if (!attempt.bodyKept || attempt.retries >= policy.retries) return "give-up";
  return isIdempotent(attempt.method) || policy.retryPost ? "retry" : "give-up";
}

/** What one retry costs; fractions of a retry are whole numbers of this unit. */
const RETRY_COST = 1_000;
const MOST_SAVED = 1_000 * RETRY_COST;

/** How many retries a service may get: one for five requests, and ten a second for services with little traffic. */
export class RetryBudget {
  readonly #gainPerRequest: number;
  readonly #gainPerSecond: number;
  #balance: number;
  #refilledAt = 0;

  constructor({ share = 0.2, minimumPerSecond = 10 } = {}) {
    this.#gainPerRequest = Math.round(share * RETRY_COST);
    this.#gainPerSecond = minimumPerSecond * RETRY_COST;
    this.#balance = this.#gainPerSecond;
  }

  /** A first attempt was made. */
  deposit(): void {
    if (this.#balance < MOST_SAVED) this.#balance += this.#gainPerRequest;
  }

  /** Whether a retry may be made now (in milliseconds of any clock); if so it is counted. */
  withdraw(now: number): boolean {
    const gained = Math.max(((now - this.#refilledAt) / 1000) * this.#gainPerSecond, 0);
    this.#refilledAt = now;
    if (this.#balance < this.#gainPerSecond) this.#balance = Math.min(this.#balance + gained, this.#gainPerSecond);
    if (this.#balance < RETRY_COST) return false;
    this.#balance -= RETRY_COST;
    return true;
  }
}
