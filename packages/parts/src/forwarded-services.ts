import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { ffiOptions } from "@hms/contracts";
import {
  type CallContext,
  forwarding,
  type Metadata,
  type MethodRule,
  methodRule,
  type ServiceRegistration,
  type Transport,
} from "@hms/kernel";
import type { PartTickets } from "./part-tickets.ts";

/** Where a part's calls go, and by what they say as whom they are made. */
export interface ForwardedServicesOptions {
  transport: Transport;
  tickets: PartTickets;
}

/**
 * Services that run in another process, ready to be registered here: each call goes there on behalf of its principal,
 * with all its metadata, and is recorded there. Here it is decided, checked and counted like any other.
 */
export function forwardedServices(
  services: readonly DescService[],
  { transport, tickets }: ForwardedServicesOptions,
): ServiceRegistration[] {
  const metadataOf = (context: CallContext) => carriedOn(context, tickets);
  return services.map((service) => {
    const handlers = service.methods.map((method) => [method.localName, forwarding(method, transport, metadataOf)]);
    return { service, implementation: Object.fromEntries(handlers), ruleOf: unrecorded };
  });
}

/** What the part records need not be recorded twice; what is denied here is recorded here all the same. */
function unrecorded(method: DescMethod): MethodRule {
  return { ...methodRule(method), auditLevel: ffiOptions.AuditLevel.NONE };
}

function carriedOn({ metadata, principal, traceparent }: CallContext, tickets: PartTickets): Metadata {
  const { authorization: _theirs, traceparent: _callers, ...others } = metadata;
  const ticket = tickets.of(principal);
  return {
    ...others,
    // The trace goes on from the span that was made here, if there is one.
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(ticket === undefined ? {} : { authorization: `Ticket ${ticket}` }),
  };
}
