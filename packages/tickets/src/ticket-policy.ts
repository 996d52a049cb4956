import type { DescMethod } from "@bufbuild/protobuf";
import type { ffiOptions } from "@hms/contracts";
import type { Policy, PolicyDecision } from "@hms/kernel";
import { ticketOf } from "./ticket-identity.ts";
import type { TicketClaims } from "./ticket-payload.ts";

/** How tickets may name a method, the most exact first, and the package it is in. */
interface MethodNames {
  package: string;
  keys: readonly string[];
}

const namesByMethod = new WeakMap<DescMethod, MethodNames>();

function namesOf(method: DescMethod): MethodNames {
  const known = namesByMethod.get(method);
  if (known) return known;
  const { name: service, file } = method.parent;
  const names = { package: file.proto.package, keys: [`${service}/${method.name}`, `${service}/*`, "*"] };
  namesByMethod.set(method, names);
  return names;
}

function packageOf({ audience }: TicketClaims): string {
  const [, serviceId, version] = audience.split("/");
  return `${serviceId}.${version}`;
}

/** What a ticket says of a method: the audit level of its calls, undefined if it may not be called. */
function levelFor(claims: TicketClaims, { keys }: MethodNames): ffiOptions.AuditLevel | undefined {
  for (const key of keys) {
    const level = claims.methods.get(key);
    if (level !== undefined) return level;
  }
  return undefined;
}

/**
 * Allows what the caller's ticket allows: methods of the service it is for, by their exact name, else "Service/*", else
 * "*"; the ticket also says what a call leaves in the audit log. Who shows no ticket may do nothing.
 */
export function createTicketPolicy(): Policy {
  const decisions = new WeakMap<TicketClaims, Map<DescMethod, PolicyDecision>>();
  const decide = (claims: TicketClaims, method: DescMethod): PolicyDecision => {
    const names = namesOf(method);
    const auditLevel = packageOf(claims) === names.package ? levelFor(claims, names) : undefined;
    if (auditLevel !== undefined) return { allowed: true, auditLevel };
    return { allowed: false, reason: "the ticket does not name this method; a policy has to allow it to this caller" };
  };
  return {
    decide({ principal, method }) {
      const claims = ticketOf(principal);
      if (claims === undefined) return { allowed: false, reason: "look the service up and show the ticket it answers" };
      const known = decisions.get(claims) ?? new Map<DescMethod, PolicyDecision>();
      const decision = known.get(method.desc) ?? decide(claims, method.desc);
      decisions.set(claims, known.set(method.desc, decision));
      return decision;
    },
  };
}
