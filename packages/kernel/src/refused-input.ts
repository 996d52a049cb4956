import type { AuditSink } from "./ports.ts";
import { type Principal, principalName } from "./principal.ts";

/** Refused requests of one caller that are recorded at once, and how many more each minute. */
const BURST = 20;
const PER_MINUTE = 6;
/** Callers that are told apart. */
const MOST_CALLERS = 1000;

interface Room {
  left: number;
  filledAt: number;
  /** What has not been recorded since the last one that was. */
  untold: number;
}

/** How much room each caller has for requests that are refused for what is in them. */
class RefusedInput {
  readonly #rooms = new Map<string, Room>();

  /** How many were left out before this one, if it may be recorded; undefined: it may not. */
  take(principal: Principal, now: number): number | undefined {
    const name = principalName(principal);
    const room = this.#rooms.get(name) ?? { left: BURST, filledAt: now, untold: 0 };
    room.left = Math.min(BURST, room.left + ((now - room.filledAt) / 60_000) * PER_MINUTE);
    room.filledAt = now;
    if (this.#rooms.size >= MOST_CALLERS && !this.#rooms.has(name)) this.#rooms.clear();
    this.#rooms.set(name, room);
    if (room.left < 1) {
      room.untold += 1;
      return undefined;
    }
    room.left -= 1;
    const { untold } = room;
    room.untold = 0;
    return untold;
  }
}

const ofSink = new WeakMap<AuditSink, RefusedInput>();

/**
 * What is recorded of a request that was refused for what is in it, though its method leaves nothing in the audit log:
 * attempts to get around rules show there (ASVS 16.3.3), and no caller can fill it with them. Undefined: nothing.
 */
export function refusedInputReason(audit: AuditSink, principal: Principal, message: string): string | undefined {
  // Nobody known is denied before, and parts of the platform attack nobody.
  if (principal.kind === "anonymous" || principal.kind === "component") return undefined;
  const refused = ofSink.get(audit) ?? new RefusedInput();
  ofSink.set(audit, refused);
  const untold = refused.take(principal, performance.now());
  if (untold === undefined) return undefined;
  return untold === 0 ? message : `${message} (${untold} more since the last one that is recorded)`;
}
