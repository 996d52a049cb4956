import type { DescMethod, DescService } from "@bufbuild/protobuf";
import type { PartName } from "@hms/config";
import { ffiOptions } from "@hms/contracts";
import {
  type CallContext,
  forwarding,
  HmsError,
  type Metadata,
  type MethodRule,
  methodRule,
  type ServiceRegistration,
  type Transport,
} from "@hms/kernel";
import { originMetadata } from "./call-origin.ts";
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
    const away = sayingWho(transport, tickets.part);
    const handlers = service.methods.map((method) => [method.localName, forwarding(method, away, metadataOf)]);
    return { service, implementation: Object.fromEntries(handlers), ruleOf: unrecorded };
  });
}

/** What the part records need not be recorded twice; what is denied here is recorded here all the same. */
function unrecorded(method: DescMethod): MethodRule {
  return { ...methodRule(method), auditLevel: ffiOptions.AuditLevel.NONE };
}

function carriedOn({ metadata, principal, traceparent, way, source }: CallContext, tickets: PartTickets): Metadata {
  const { authorization: _theirs, traceparent: _callers, ...others } = metadata;
  const ticket = tickets.of(principal);
  return {
    ...others,
    ...originMetadata({ way, source }),
    // The trace goes on from the span that was made here, if there is one.
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(ticket === undefined ? {} : { authorization: `Ticket ${ticket}` }),
  };
}

/** What a transport says of a connection that did not come about, or broke. */
const AWAY = new Set(["NOT_CONNECTED", "CONNECTION_LOST", "SERVER_STOPPING", "INTERRUPTED"]);

/** The same transport, whose errors say which part of the platform is away: callers see nothing of how it is reached. */
function sayingWho(transport: Transport, part: PartName): Transport {
  const said = (thrown: unknown) => {
    const error = HmsError.from(thrown);
    if (error.code !== "UNAVAILABLE" || !AWAY.has(error.details.reason ?? "")) return error;
    const isUnknown = error.details.reason === "CONNECTION_LOST" || error.details.reason === "INTERRUPTED";
    const took = isUnknown ? "; if the call changes something, look whether it did before you repeat it" : "";
    const message = `The platform's ${part} does not answer${took}. What does not need it goes on; see hms-sys doctor.`;
    return new HmsError("UNAVAILABLE", message, { reason: "PART_AWAY", metadata: { part }, cause: error });
  };
  return {
    unary: async (method, input, options) => {
      try {
        return await transport.unary(method, input, options);
      } catch (error) {
        throw said(error);
      }
    },
    stream: async function* (method, inputs, options) {
      try {
        yield* transport.stream(method, inputs, options) as AsyncIterable<never>;
      } catch (error) {
        throw said(error);
      }
    },
  };
}
