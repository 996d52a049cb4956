import type { ChannelSchemes } from "./channel.ts";

/** What `transport.default` of a program's configuration may be; `auto`, the default, takes the nearest way. */
export const TRANSPORTS = ["auto", "in_process", "local_socket", "tcp", "tls", "grpc", "http"] as const;

/** One of them. */
export type TransportName = (typeof TRANSPORTS)[number];

/** Which addresses each is about. `grpc` is the network's way, with certificates on both sides: between HMS programs, frames. */
const PREFERRED: Readonly<Record<TransportName, readonly string[]>> = {
  auto: [],
  in_process: [],
  local_socket: ["unix"],
  tcp: ["tcp"],
  tls: ["tls"],
  grpc: ["tls", "grpcs", "grpc"],
  http: ["https", "http"],
};

/** The schemes, those of a transport before nearer ones; where an instance has none that can be used, the nearest is taken. */
export function preferring(schemes: ChannelSchemes, transport: TransportName): ChannelSchemes {
  const preferred = PREFERRED[transport];
  const preferredBy = `transport.default is ${transport}`;
  return Object.fromEntries(
    Object.entries(schemes).map(([name, scheme]) => [
      name,
      preferred.includes(name) ? { ...scheme, preferredBy } : scheme,
    ]),
  );
}
