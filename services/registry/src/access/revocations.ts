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
  #storing: Promise<void> = Promise.resolve();

  constructor(parts: RevocationParts) {
    this.#parts = parts;
  }

  /** Reads those that a server before this one made. */
  async load(): Promise<void> {
    for (const { revocation, ageMs } of await this.#parts.store.revocations(KEPT_MS)) {
      this.#keep(revocation, KEPT_MS - ageMs);
    }
  }

  /** Those in force now. */
  get current(): readonly TicketRevocation[] {
    const nowMs = Date.now();
    this.#kept = this.#kept.filter(({ untilMs }) => untilMs > nowMs);
    return this.#kept.map(({ revocation }) => revocation);
  }

  /** The earliest date of a ticket of this principal for this service that no revocation fits, in seconds since 1970. */
  issuableFromS(principal: string, serviceId: string): number {
    const fitting = this.current.filter(
      (each) =>
        (each.principal === "" || each.principal === principal) &&
        (each.serviceId === "" || each.serviceId === serviceId),
    );
    return Math.max(0, ...fitting.map(({ issuedBeforeS }) => issuedBeforeS));
  }

  /** Revokes at once; it is stored as soon as PostgreSQL answers. */
  revoke(revocations: readonly TicketRevocation[]): void {
    if (revocations.length === 0) return;
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
