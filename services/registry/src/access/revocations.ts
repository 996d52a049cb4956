import { isExact } from "@hms/authorization";
import { HmsError } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import type { TicketRevocation } from "@hms/tickets";
import type { AccessStore } from "./access-store.ts";

/** As long as a ticket could be in use: its life, twice what clocks may differ, and a reserve. */
const KEPT_MS = 120_000;
const MOST = 1000;

/** What revocations stand on. */
export interface RevocationParts {
  store: AccessStore;
  /** Tells the watches. */
  tell: (revocation: TicketRevocation) => void;
  /** Ends what is under way. */
  signal: AbortSignal;
  /** Hears why a revocation could not be stored. */
  failed: (failure: HmsError) => void;
}

/**
 * What has to be revoked where somebody may call less of these services, given as patterns of ids: tickets
 * dated before the end of the second that is under way.
 */
export function revocationsOf(services: readonly string[]): TicketRevocation[] {
  const issuedBeforeS = Math.floor(Date.now() / 1000) + 1;
  const ids = services.every(isExact) ? services : [""];
  return ids.map((serviceId) => ({ principal: "", serviceId, issuedBeforeS }));
}

/** The revocations of the last 120 s: told to watches, dated into new tickets, kept across restarts. */
export class Revocations {
  readonly #parts: RevocationParts;
  #kept: { revocation: TicketRevocation; untilMs: number }[] = [];
  /** The latest date of a ticket, for each principal that has one from after now; "": of anybody. */
  readonly #ahead = new Map<string, number>();
  #storing: Promise<void> = Promise.resolve();

  constructor(parts: RevocationParts) {
    this.#parts = parts;
  }

  /** Reads those that a server before this one made. */
  async load(): Promise<void> {
    for (const { revocation, ageMs } of await this.#parts.store.revocations(KEPT_MS)) {
      this.#keep(revocation, KEPT_MS - ageMs);
      // Whether the server before this one dated tickets so is not known.
      this.#noteAhead("", revocation.issuedBeforeS);
    }
  }

  /** Those in force now. */
  get current(): readonly TicketRevocation[] {
    const nowMs = Date.now();
    this.#kept = this.#kept.filter(({ untilMs }) => untilMs > nowMs);
    return this.#kept.map(({ revocation }) => revocation);
  }

  /**
   * The date of a ticket of this principal for this service that no revocation fits, in seconds since 1970: now, or up to a
   * second ahead for each time that it was revoked since.
   */
  dateS(principal: string, serviceId: string): number {
    const nowS = Math.floor(Date.now() / 1000);
    const dateS = Math.max(nowS, this.#issuableFromS(principal, serviceId));
    if (dateS > nowS) this.#noteAhead(principal, dateS);
    return dateS;
  }

  #issuableFromS(principal: string, serviceId: string): number {
    const fitting = this.current.filter(
      (each) =>
        (each.principal === "" || each.principal === principal) &&
        (each.serviceId === "" || each.serviceId === serviceId),
    );
    return Math.max(0, ...fitting.map(({ issuedBeforeS }) => issuedBeforeS));
  }

  /** Tickets that are dated ahead of now: what revokes them has to be dated after them. */
  #noteAhead(principal: string, dateS: number): void {
    const nowS = Math.floor(Date.now() / 1000);
    for (const [name, atS] of this.#ahead) if (atS <= nowS) this.#ahead.delete(name);
    this.#ahead.set(principal, Math.max(dateS, this.#ahead.get(principal) ?? 0));
  }

  #afterTickets(revocation: TicketRevocation): TicketRevocation {
    const { principal, issuedBeforeS } = revocation;
    const aheadS = principal === "" ? Math.max(0, ...this.#ahead.values()) : (this.#ahead.get(principal) ?? 0);
    const everybodysS = this.#ahead.get("") ?? 0;
    return { ...revocation, issuedBeforeS: Math.max(issuedBeforeS, aheadS + 1, everybodysS + 1) };
  }

  /** Revokes at once; it is stored as soon as PostgreSQL answers. */
  revoke(wanted: readonly TicketRevocation[]): void {
    if (wanted.length === 0) return;
    const revocations = wanted.map((each) => this.#afterTickets(each));
    for (const revocation of revocations) {
      this.#keep(revocation, KEPT_MS);
      this.#parts.tell(revocation);
    }
    const { store, signal, failed } = this.#parts;
    const retry = { signal, deadlineMs: KEPT_MS };
    this.#storing = this.#storing
      .then(() => retryWhileUnavailable(() => store.revoke(revocations, KEPT_MS), retry))
      .catch((error) => failed(HmsError.from(error)));
  }

  /** Settles when everything revoked so far has been stored, or was given up. */
  async settled(): Promise<void> {
    await this.#storing;
  }

  #keep(revocation: TicketRevocation, forMs: number): void {
    this.#kept.push({ revocation, untilMs: Date.now() + forMs });
    if (this.#kept.length <= MOST) return;
    // Too much rather than too little.
    const issuedBeforeS = Math.max(...this.#kept.map((each) => each.revocation.issuedBeforeS));
    this.#kept = [{ revocation: { principal: "", serviceId: "", issuedBeforeS }, untilMs: Date.now() + KEPT_MS }];
  }
}
