import type { DescService, MessageInitShape } from "@bufbuild/protobuf";
import { grpcHealth, type grpcReflection } from "@hms/contracts";
import { createClient, HmsError, type Transport } from "@hms/kernel";

/** What a server answers about itself. */
export interface Liveness {
  readonly alive: boolean;
  /** Why it does not count as alive; empty if it does. */
  readonly reason: string;
}

const PROBE_TIMEOUT_MS = 2_000;
const { NOT_SERVING } = grpcHealth.HealthCheckResponse_ServingStatus;

/**
 * Asks a gRPC server by grpc.health.v1 whether it serves. One that has no health service, does not know itself by that
 * name or does not tell us is alive all the same: it has answered. Never rejects.
 */
export async function probe(transport: Transport, timeoutMs = PROBE_TIMEOUT_MS): Promise<Liveness> {
  try {
    const { status } = await createClient(grpcHealth.Health, transport).check({}, { timeoutMs });
    if (status !== NOT_SERVING) return { alive: true, reason: "" };
    return { alive: false, reason: "it says that it is not serving" };
  } catch (error) {
    const { code, message } = HmsError.from(error);
    const gone = code === "UNAVAILABLE" || code === "DEADLINE_EXCEEDED" || code === "CANCELLED";
    return gone || message.startsWith("No trust") ? { alive: false, reason: message } : { alive: true, reason: "" };
  }
}

/** ServerReflectionInfo of grpc.reflection.v1 or v1alpha, with the messages of v1; what reads contracts by reflection. */
export type ReflectionCall = (
  service: DescService,
  requests: AsyncIterable<MessageInitShape<typeof grpcReflection.ServerReflectionRequestSchema>>,
) => AsyncIterable<grpcReflection.ServerReflectionResponse>;

/** Asks a server's reflection over a transport; the call ends when its requests do, or when its answers are left. */
export function reflectionCall(transport: Transport, timeoutMs?: number): ReflectionCall {
  return (service, requests) => {
    const method = service.methods.find(({ methodKind }) => methodKind === "bidi_streaming");
    if (method === undefined) throw new HmsError("INTERNAL", `${service.typeName} has no reflection method.`);
    return transport.stream(method as never, requests as never, { timeoutMs }) as AsyncIterable<never>;
  };
}
