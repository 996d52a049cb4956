import { randomUUID } from "node:crypto";
import type { PartName } from "@hms/config";
import { HmsError, type Principal, principalName } from "@hms/kernel";
import { LONGEST_TICKET_S, mintTicket } from "@hms/tickets";

/** A ticket is shown for this long; what remains of its life is for calls under way and clocks that differ. */
const SHOWN_S = 30;

/** What tickets for a part name as their audience. */
export function partAudience(part: PartName): string {
  return `part/${part}`;
}

/**
 * The key of an installation's parts, as its bytes; `ensureSealedToken` makes the text.
 * @throws HmsError INVALID_ARGUMENT if it is not 64 hexadecimal digits
 */
export function partKeyOf(text: string): Uint8Array {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new HmsError("INVALID_ARGUMENT", "A part key is 64 hexadecimal digits.");
  return Buffer.from(text, "hex");
}

interface Kept {
  readonly ticket: string;
  readonly shownUntilS: number;
}

/** Says on whose behalf a process of the platform calls a part in another one. */
export class PartTickets {
  readonly #key: Uint8Array;
  /** Which part it is. */
  readonly part: PartName;
  readonly #now: () => number;
  readonly #kept = new WeakMap<Principal, Kept>();

  /** `now`: milliseconds since 1970; default the machine's clock. */
  constructor(key: Uint8Array, part: PartName, now: () => number = Date.now) {
    this.#key = key;
    this.part = part;
    this.#now = now;
  }

  /**
   * A ticket that stands for the principal with all that it is, good for at most 60 s and no longer than its session;
   * undefined for nobody known.
   * @throws HmsError UNAUTHENTICATED (SESSION_ENDED) if the principal's session has ended
   */
  of(principal: Principal): string | undefined {
    if (principal.kind === "anonymous") return undefined;
    const nowS = Math.floor(this.#now() / 1000);
    const kept = this.#kept.get(principal);
    if (kept !== undefined && nowS < kept.shownUntilS) return kept.ticket;
    const made = this.#mint(principal, nowS);
    this.#kept.set(principal, made);
    return made.ticket;
  }

  #mint(principal: Principal, nowS: number): Kept {
    const endsAtS = Math.floor((principal.endsAtMs ?? Number.POSITIVE_INFINITY) / 1000);
    const expiresAt = Math.min(nowS + LONGEST_TICKET_S, endsAtS);
    if (expiresAt <= nowS) {
      throw new HmsError("UNAUTHENTICATED", `The session of ${principalName(principal)} has ended. Sign in again.`, {
        reason: "SESSION_ENDED",
      });
    }
    const audience = partAudience(this.part);
    // What may be called is not for the ticket to say: the part decides it as if it had been called itself.
    const claims = { id: randomUUID(), audience, principal, issuedAt: nowS, expiresAt, methods: new Map() };
    return { ticket: mintTicket(claims, this.#key), shownUntilS: Math.min(nowS + SHOWN_S, expiresAt) };
  }
}
