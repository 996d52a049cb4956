import { HmsError } from "@hms/kernel";
import { EdgeFault } from "./edge-fault.ts";

/** Denials at once, and how many more each second. */
const BURST = 100;
const PER_SECOND = 2;
/** Credentials that are remembered as good. */
const MOST_KNOWN = 256;

/**
 * Keeps those whom nobody knows from filling the audit log, which every denial goes to. Once it says that it is enough,
 * credentials are looked at before anything is recorded, so that right ones are never held up by others' wrong ones.
 */
export class DenialThrottle {
  readonly #known = new Set<string>();
  // Most requests in a row show the same credentials.
  #last: string | undefined;
  #left = BURST;
  #filledAt = performance.now();

  /** Whether a denial of these credentials may be recorded; always true for those that were good last time. */
  hasRoomFor(authorization: string | undefined): boolean {
    if (authorization !== undefined && (authorization === this.#last || this.#known.has(authorization))) return true;
    this.#fill();
    return this.#left >= 1;
  }

  /** These credentials were good. */
  noteGood(authorization: string | undefined): void {
    if (authorization === undefined || authorization === this.#last) return;
    this.#last = authorization;
    this.#known.add(authorization);
    if (this.#known.size > MOST_KNOWN) this.#known.delete(this.#known.values().next().value as string);
  }

  /** Somebody was denied for having none, or wrong ones. */
  noteDenial(authorization: string | undefined): void {
    if (authorization === this.#last) this.#last = undefined;
    if (authorization !== undefined) this.#known.delete(authorization);
    this.#left -= 1;
  }

  #fill(): void {
    const now = performance.now();
    this.#left = Math.min(BURST, this.#left + ((now - this.#filledAt) / 1000) * PER_SECOND);
    this.#filledAt = now;
  }
}

/** What somebody is told whom nobody knows, after too many others. */
export function tooManyDenials(): EdgeFault {
  const message = "Too many requests with unknown credentials have been denied; try again in a second.";
  return new EdgeFault(new HmsError("RESOURCE_EXHAUSTED", message, { reason: "TOO_MANY_DENIALS", retryAfterMs: 1000 }));
}
