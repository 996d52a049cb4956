import type { ReflectedServer } from "@hms/descriptors";

/** Whether a server answers, and why not. */
export interface ForeignLiveness {
  readonly alive: boolean;
  /** Why it does not count as alive; empty if it does. */
  readonly reason: string;
}

/** What the registry needs of stock gRPC servers, which know nothing of it. */
export interface ForeignServers {
  /**
   * Reads the contracts of a server ("grpc://127.0.0.1:50051") by reflection; `services` are full names, all but grpc.*
   * if there are none.
   * @throws HmsError UNAVAILABLE if it cannot be reached, FAILED_PRECONDITION without reflection, NOT_FOUND if it lacks a
   * service.
   */
  reflect(address: string, services: readonly string[], signal: AbortSignal): Promise<ReflectedServer>;
  /** Asks a server by grpc.health.v1, or by a connection if it has no health service. Never rejects. */
  alive(address: string, signal: AbortSignal): Promise<ForeignLiveness>;
}
