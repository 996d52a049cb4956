export { type CallReporter, type CallReporterOptions, createCallReporter } from "./call-reporter.ts";
export { RevocationList, type TicketRevocation } from "./revocation-list.ts";
export { mintTicket, type TicketKeys } from "./ticket.ts";
export { createTicketIdentity, isTicketRevoked, type TicketIdentityOptions } from "./ticket-identity.ts";
export { LONGEST_TICKET_S, type TicketClaims, type TicketInstance, ticketAudience } from "./ticket-payload.ts";
export { createTicketPolicy } from "./ticket-policy.ts";
