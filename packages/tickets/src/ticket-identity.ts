import { anonymous, type Credentials, HmsError, type IdentitySource, type Principal, principalName } from "@hms/kernel";
import { RevocationList } from "./revocation-list.ts";
import { type TicketKeys, verifyTicket } from "./ticket.ts";
import type { TicketClaims } from "./ticket-payload.ts";

/** What tickets are checked with. */
export interface TicketIdentityOptions {
  /** Instances served here and their keys; a Map that is filled when they have registered will do. */
  keys: TicketKeys;
  /** Default: none. */
  revocations?: RevocationList;
  /** Milliseconds since 1970; default the machine's clock. */
  now?: () => number;
}

/** A ticket that was found right, and what remains to be checked with each call. */
interface Admission {
  readonly principal: Principal;
  readonly endsAtMs: number;
  /** The change of the revocations at which it was last found not revoked. */
  checkedAt: number;
}

const claimsByPrincipal = new WeakMap<Principal, TicketClaims>();

/** The ticket that made a principal; undefined if it was made otherwise. */
export function ticketOf(principal: Principal): TicketClaims | undefined {
  return claimsByPrincipal.get(principal);
}

/** Whether the ticket that made a principal is revoked by now; false if it was made otherwise. For streams that run on. */
export function isTicketRevoked(principal: Principal, revocations: RevocationList): boolean {
  const claims = ticketOf(principal);
  if (claims === undefined) return false;
  const [, serviceId = ""] = claims.audience.split("/");
  return revocations.revokes(principalName(principal), serviceId, claims.issuedAt);
}

const invalid = () =>
  new HmsError("UNAUTHENTICATED", "The ticket is not valid here. Look the service up and show the ticket it answers.", {
    reason: "TICKET_INVALID",
  });

/**
 * Knows callers by the ticket they show: no ticket is anonymous; one that is forged, for somebody else, ended or revoked
 * is UNAUTHENTICATED with the reason TICKET_INVALID, TICKET_EXPIRED or TICKET_REVOKED. A ticket is verified once for each
 * `Credentials` object; its end and revocation are checked with each call.
 */
export function createTicketIdentity(options: TicketIdentityOptions): IdentitySource {
  const { keys, revocations = new RevocationList(), now = Date.now } = options;
  const admissions = new WeakMap<Credentials, Admission>();
  const admit = (credentials: Credentials, ticket: string): Admission => {
    const claims = verifyTicket(ticket, keys, now());
    if (claims === undefined) throw invalid();
    const { principal, expiresAt } = claims;
    const admission = { principal, endsAtMs: expiresAt * 1000, checkedAt: -1 };
    claimsByPrincipal.set(principal, claims);
    admissions.set(credentials, admission);
    return admission;
  };
  return {
    authenticate(credentials) {
      const { ticket } = credentials;
      if (ticket === undefined) return anonymous;
      const admission = admissions.get(credentials) ?? admit(credentials, ticket);
      if (now() >= admission.endsAtMs) throw ended("TICKET_EXPIRED", "has ended");
      if (admission.checkedAt !== revocations.changes) checkRevoked(admission, revocations);
      return admission.principal;
    },
  };
}

function checkRevoked(admission: Admission, revocations: RevocationList): void {
  if (isTicketRevoked(admission.principal, revocations)) throw ended("TICKET_REVOKED", "was revoked");
  admission.checkedAt = revocations.changes;
}

function ended(reason: string, what: string): HmsError {
  return new HmsError(
    "UNAUTHENTICATED",
    `The ticket ${what}; the call was not served. Look the service up again and repeat the call.`,
    { reason },
  );
}
