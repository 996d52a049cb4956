import { createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { grpcHealth } from "@hms/contracts";
import { type ReflectionCall, reflectServer } from "@hms/descriptors";
import { HmsError, statusCodeName } from "@hms/kernel";
import type { ForeignServers } from "../ports.ts";

const transportTo = (address: string) => createGrpcTransport({ baseUrl: address.replace(/^grpc/, "http") });

function translated(error: unknown): HmsError {
  const { code, message } = error as { code?: number; message: string };
  const name = statusCodeName(code ?? 2);
  return new HmsError(name === "OK" ? "UNKNOWN" : name, message, { cause: error });
}

function reflectionOver(transport: Transport, signal: AbortSignal): ReflectionCall {
  return async function* (service, requests) {
    const client = createClient(service, transport) as Record<string, (...args: unknown[]) => AsyncIterable<never>>;
    try {
      yield* client.serverReflectionInfo?.(requests, { signal }) ?? [];
    } catch (error) {
      throw translated(error);
    }
  };
}

/** The way to stock gRPC servers by connect-node. */
export const grpcForeignServers: ForeignServers = {
  reflect: (address, services, signal) =>
    reflectServer(reflectionOver(transportTo(address), signal), services.length > 0 ? { services } : {}),
  alive: async (address, signal) => {
    try {
      const { status } = await createClient(grpcHealth.Health, transportTo(address)).check({}, { signal });
      const alive = status !== grpcHealth.HealthCheckResponse_ServingStatus.NOT_SERVING;
      return { alive, reason: alive ? "" : "it says that it is not serving" };
    } catch (error) {
      const { code, message } = translated(error);
      const gone = code === "UNAVAILABLE" || code === "CANCELLED" || code === "DEADLINE_EXCEEDED";
      return { alive: !gone, reason: gone ? message : "" };
    }
  },
};
