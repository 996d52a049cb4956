import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { registry } from "@hms/contracts";
import type { Metadata } from "@hms/kernel";

/** No ticket is good for longer (docs/tickets.md); a clock that is wrong must not make us believe otherwise. */
const LONGEST_LIFE_MS = 60_000;

/** Calls without a ticket go through the edge; as soon as there is one, they go directly. */
const WITHOUT_TICKETS_MS = 1_000;

/** The right to call one instance. */
export interface HeldTicket {
  /** What goes with each call. */
  readonly metadata: Metadata;
  /** When it ends, in `performance.now()` milliseconds. */
  readonly endsAt: number;
}

/** What a ticket says about itself; undefined if it cannot be read. Only the callee can tell whether it is true. */
export interface TicketClaims {
  /** Whom it is for: "user:anna". */
  readonly sub?: string;
  /** When it was issued, in seconds since 1970. */
  readonly iat?: number;
  /** What may be called there, with the audit level of each. */
  readonly mth?: Readonly<Record<string, string>>;
}

/** Reads what a ticket says without checking it. */
export function ticketClaims(ticket: string): TicketClaims {
  try {
    return JSON.parse(Buffer.from(ticket.split(".")[1] ?? "", "base64url").toString("utf8")) as TicketClaims;
  } catch {
    return {};
  }
}

/** The tickets of one caller for the instances of one service. */
export class TicketSet {
  readonly byInstance = new Map<string, HeldTicket>();
  /** Whom they are for; undefined if there are none. */
  readonly subject: string | undefined;
  /** When they were issued, in seconds since 1970; undefined if they do not say. */
  readonly issuedAtS: number | undefined;
  /** When the first of them ends; never, without tickets. */
  readonly endsAt: number = Number.POSITIVE_INFINITY;
  /** From then on new ones should be fetched: half of their life, or the refresh interval if that is shorter. */
  readonly refreshAt: number;

  constructor(tickets: readonly registry.Ticket[], refreshIntervalMs: number) {
    const now = performance.now();
    for (const { instanceId, ticket, expiresAt } of tickets) {
      const leftMs = expiresAt ? Math.min(timestampMs(expiresAt) - Date.now(), LONGEST_LIFE_MS) : LONGEST_LIFE_MS;
      const metadata = Object.freeze({ authorization: `Ticket ${ticket}` });
      this.byInstance.set(instanceId, { metadata, endsAt: now + leftMs });
      this.endsAt = Math.min(this.endsAt, now + leftMs);
    }
    const { sub, iat } = ticketClaims(tickets[0]?.ticket ?? "");
    this.subject = sub;
    this.issuedAtS = iat;
    // Nobody tells when a policy allows more than before.
    const withoutMs = tickets.length === 0 ? WITHOUT_TICKETS_MS : refreshIntervalMs;
    this.refreshAt = now + Math.min((this.endsAt - now) / 2, refreshIntervalMs, withoutMs);
  }
}
