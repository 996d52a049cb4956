import { reflectServer } from "@hms/descriptors";
import { type ConnectGrpcOptions, connectGrpc, type GrpcTransport, probe, reflectionCall } from "@hms/grpc";
import type { ForeignServers } from "@hms/service-registry/ports";

/** How stock gRPC servers are reached. */
export interface GrpcServersOptions {
  /** Who this side is, for grpcs addresses; default: they cannot be registered. */
  readonly tls?: ConnectGrpcOptions["tls"];
}

const REFLECTION_MS = 15_000;

/** The way of the registry to stock gRPC servers: reflection and health over HTTP/2. */
export function createGrpcServers({ tls }: GrpcServersOptions = {}): ForeignServers {
  const withTransport = async <T>(address: string, signal: AbortSignal, work: (to: GrpcTransport) => Promise<T>) => {
    await using transport = connectGrpc({ address, ...(tls === undefined ? {} : { tls }) });
    // A connection that is given up ends its calls.
    const end = () => void transport.close();
    signal.addEventListener("abort", end, { once: true });
    try {
      return await work(transport);
    } finally {
      signal.removeEventListener("abort", end);
    }
  };
  return {
    reflect: (address, services, signal) =>
      withTransport(address, signal, (transport) =>
        reflectServer(reflectionCall(transport, REFLECTION_MS), services.length > 0 ? { services } : {}),
      ),
    alive: (address, signal) =>
      withTransport(address, signal, (transport) => probe(transport)).catch((error: unknown) => ({
        alive: false,
        reason: error instanceof Error ? error.message : String(error),
      })),
  };
}
