import { ticketClaims } from "@hms/directory";
import type { Principal } from "@hms/kernel";
import { usableAddresses, type WeighedAddress, weighAddresses } from "./address-choice.ts";
import type { CallGround } from "./call-attempts.ts";
import type { ChannelScheme, ChannelSchemes } from "./channel.ts";
import type { BreakerState } from "./instance-breaker.ts";

/** How calls to one instance go. */
export interface InstanceExplanation {
  readonly instanceId: string;
  /** Every address, the chosen one marked, with the reason for each. */
  readonly addresses: readonly WeighedAddress[];
  /** How messages are encoded first; JSON follows if the callee has no protobuf. Undefined if no address can be used. */
  readonly codec: "protobuf" | "json" | undefined;
  /** How long the ticket is good for; undefined without one. */
  readonly ticketMs: number | undefined;
  /** What the ticket allows: "DebateService/*". */
  readonly methods: readonly string[];
  readonly breaker: BreakerState;
  readonly inFlight: number;
  /** Expected time of an answer; undefined before the first. */
  readonly latencyMs: number | undefined;
}

/** How a call to a service would go, and why. */
export interface CallExplanation {
  readonly path: "direct" | "edge";
  /** Why this path, as a sentence. */
  readonly why: string;
  readonly instances: readonly InstanceExplanation[];
}

/** Works out how a call would go without making one. @throws HmsError as the directory's lookup does */
export async function explainCalls(
  { key, directory, edge, always, endpoints }: CallGround,
  { schemes, principal }: { schemes: ChannelSchemes; principal: Principal | undefined },
): Promise<CallExplanation> {
  const { entry, tickets } = await directory.lookup(key, principal);
  const now = performance.now();
  const instances = entry.instances.map((instance) => {
    const ticket = tickets.get(instance.instanceId);
    const endpoint = endpoints.known(instance.instanceId);
    const { mth = {} } = ticketClaims(ticket?.metadata.authorization ?? "");
    return {
      instanceId: instance.instanceId,
      addresses: weighAddresses(instance, schemes),
      codec: codecOf(usableAddresses(instance, schemes)[0]?.scheme, entry.hasContract && !endpoint?.speaksJson),
      ticketMs: ticket && Math.max(0, Math.round(ticket.endsAt - now)),
      methods: Object.keys(mth),
      breaker: endpoint?.breaker ?? ("closed" as const),
      inFlight: endpoint?.inFlight ?? 0,
      latencyMs: endpoint?.latency.isKnown ? endpoint.latency.current(now) : undefined,
    };
  });
  const direct = tickets.size > 0 && instances.some(({ addresses }) => addresses.some(({ chosen }) => chosen));
  if (always === "edge") return { path: "edge", why: "It is a part of the platform, which answers itself.", instances };
  return { ...pathOf(direct, edge !== undefined), instances };
}

/** Without a contract there is nothing but JSON, and so for callees that have been found to have no protobuf. */
function codecOf(scheme: ChannelScheme | undefined, inProtobuf: boolean): InstanceExplanation["codec"] {
  return scheme === undefined || inProtobuf ? scheme?.codec : "json";
}

function pathOf(hasTickets: boolean, hasEdge: boolean): Pick<CallExplanation, "path" | "why"> {
  if (hasTickets)
    return { path: "direct", why: "The registry issued tickets for it, which the instances check themselves." };
  if (hasEdge)
    return {
      path: "edge",
      why: "There is no ticket for it, or no address that can be used from here; so the edge decides and calls.",
    };
  return { path: "direct", why: "Whoever calls has decided already, so no ticket is needed." };
}
