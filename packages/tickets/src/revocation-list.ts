/** Which tickets are worth nothing any more. */
export interface TicketRevocation {
  /** As tickets name it, "user:anna"; empty: everybody. */
  readonly principal: string;
  /** Empty: every service. */
  readonly serviceId: string;
  /** Tickets issued before this moment, in seconds since 1970. */
  readonly issuedBeforeS: number;
}

/** Longer than a ticket lives by what clocks may differ. */
const KEPT_MS = 120_000;
const MOST = 1000;

/** The revocations of the last 120 s, as an instance hears them on its watch; beyond 1000 they revoke all tickets. */
export class RevocationList {
  readonly #now: () => number;
  #kept: { revocation: TicketRevocation; untilMs: number }[] = [];
  #changes = 0;

  /** `now`: milliseconds since 1970; default the machine's clock. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Counts what was added: who has asked since the last change need not ask again. */
  get changes(): number {
    return this.#changes;
  }

  add(revocation: TicketRevocation): void {
    const nowMs = this.#now();
    this.#kept = this.#kept.filter(({ untilMs }) => untilMs > nowMs);
    this.#kept.push({ revocation, untilMs: nowMs + KEPT_MS });
    if (this.#kept.length > MOST) {
      const issuedBeforeS = Math.max(...this.#kept.map((each) => each.revocation.issuedBeforeS));
      this.#kept = [{ revocation: { principal: "", serviceId: "", issuedBeforeS }, untilMs: nowMs + KEPT_MS }];
    }
    this.#changes++;
  }

  /** Whether a ticket of this principal for this service, issued at `issuedAtS`, is revoked. */
  revokes(principal: string, serviceId: string, issuedAtS: number): boolean {
    return this.#kept.some(
      ({ revocation: r }) =>
        issuedAtS < r.issuedBeforeS &&
        (r.principal === "" || r.principal === principal) &&
        (r.serviceId === "" || r.serviceId === serviceId),
    );
  }
}
