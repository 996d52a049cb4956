import { isIPv4 } from "node:net";
import { HmsError } from "@hms/kernel";

/** Where a gRPC server answers. */
export interface GrpcAddress {
  readonly secure: boolean;
  readonly host: string;
  /** "host:port", as a URL has it. */
  readonly authority: string;
  /** True if it is this machine by its number. */
  readonly loopback: boolean;
}

const ADDRESS = /^(grpcs?):\/\/((?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5}))$/;

/** Reads "grpc://host:port" or "grpcs://host:port". @throws HmsError INVALID_ARGUMENT if it is neither */
export function parseGrpcAddress(text: string): GrpcAddress {
  const [, scheme, authority, v6, name, port] = ADDRESS.exec(text) ?? [];
  const host = v6 ?? name;
  if (host === undefined || authority === undefined || Number(port) > 65_535) {
    const shown = JSON.stringify(text.slice(0, 120));
    throw new HmsError("INVALID_ARGUMENT", `${shown} is no gRPC address: write grpc://host:port or grpcs://host:port.`);
  }
  const loopback = host === "::1" || (isIPv4(host) && host.startsWith("127."));
  return { secure: scheme === "grpcs", host, authority, loopback };
}
