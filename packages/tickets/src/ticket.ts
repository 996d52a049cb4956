import { createHmac, timingSafeEqual } from "node:crypto";
import { HmsError } from "@hms/kernel";
import { LONGEST_TICKET_S, readPayload, type TicketClaims, writePayload } from "./ticket-payload.ts";

const FORM = "hms1";
const LONGEST_TICKET = 8192;
const KEY_BYTES = 32;
/** How far the clocks of the registry and an instance may differ. */
const CLOCKS_DIFFER_S = 5;

/** The ticket keys of the instances that a process serves, by audience; may change at any time. */
export type TicketKeys = Iterable<readonly [audience: string, key: Uint8Array]>;

/**
 * Writes a ticket (docs/tickets.md).
 * @throws HmsError INVALID_ARGUMENT if it would live longer than 60 s, RESOURCE_EXHAUSTED (TICKET_TOO_LARGE) if it would
 * be longer than 8192 characters.
 */
export function mintTicket(claims: TicketClaims, key: Uint8Array): string {
  if (!mayLiveSoLong(claims)) {
    const lifeS = claims.expiresAt - claims.issuedAt;
    throw new HmsError("INVALID_ARGUMENT", `A ticket lives ${LONGEST_TICKET_S} s at most, not ${lifeS} s.`);
  }
  const signed = `${FORM}.${writePayload(claims)}`;
  const ticket = `${signed}.${signature(signed, key)}`;
  if (ticket.length <= LONGEST_TICKET) return ticket;
  throw new HmsError(
    "RESOURCE_EXHAUSTED",
    `The ticket for ${claims.audience} would have ${ticket.length} characters; ${LONGEST_TICKET} are allowed. ` +
      "Let policies allow whole services instead of single methods.",
    { reason: "TICKET_TOO_LARGE" },
  );
}

/**
 * What a ticket says if it is for one of these instances, made with its key, and dated rightly; undefined otherwise.
 * Whether it has ended or was revoked is checked with each call.
 */
export function verifyTicket(ticket: string, keys: TicketKeys, nowMs: number): TicketClaims | undefined {
  if (ticket.length > LONGEST_TICKET) return undefined;
  const [form, payload, shown, ...more] = ticket.split(".");
  if (form !== FORM || payload === undefined || shown === undefined || more.length > 0) return undefined;
  const signed = `${form}.${payload}`;
  // Every key is tried, so that nothing is read that the registry has not written.
  for (const [audience, key] of keys) {
    if (!isSame(signature(signed, key), shown)) continue;
    const claims = readPayload(payload);
    if (claims?.audience === audience && isDatedRightly(claims, nowMs)) return claims;
  }
  return undefined;
}

function isDatedRightly(claims: TicketClaims, nowMs: number): boolean {
  return claims.issuedAt * 1000 <= nowMs + CLOCKS_DIFFER_S * 1000 && mayLiveSoLong(claims);
}

function mayLiveSoLong({ issuedAt, expiresAt }: TicketClaims): boolean {
  return expiresAt - issuedAt <= LONGEST_TICKET_S;
}

function signature(signed: string, key: Uint8Array): string {
  if (key.length !== KEY_BYTES) {
    throw new HmsError("INTERNAL", `A ticket key has ${KEY_BYTES} bytes, not ${key.length}; register anew to get it.`);
  }
  return createHmac("sha256", key).update(signed).digest("base64url");
}

/** In a time that does not depend on where they differ. */
function isSame(expected: string, shown: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(shown)];
  return a.length === b.length && timingSafeEqual(a, b);
}
