import { type ConnectGrpcOptions, connectGrpc } from "@hms/grpc";
import type { ChannelSchemes } from "./channel.ts";

/** What gRPC is spoken with. */
export interface GrpcSchemesOptions {
  /** Who this side is, for grpcs addresses; without it they cannot be called. */
  readonly tls?: ConnectGrpcOptions["tls"];
}

/** How addresses are called by gRPC over HTTP/2: grpc and grpcs. */
export function grpcSchemes({ tls }: GrpcSchemesOptions = {}): ChannelSchemes {
  const codec = "protobuf" as const;
  const open = (address: string) => connectGrpc({ address, ...(tls === undefined ? {} : { tls }) });
  return {
    grpcs: {
      speaks: "gRPC over mutual TLS",
      codec,
      unusable: () => (tls === undefined ? "this program has no certificate of the platform" : undefined),
      open,
    },
    grpc: { speaks: "gRPC over HTTP/2", codec, open },
  };
}
