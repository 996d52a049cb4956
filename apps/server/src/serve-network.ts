import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { InstancePaths } from "@hms/config";
import { httpProtocols, peerOf } from "@hms/grpc";
import type { Kernel } from "@hms/kernel";
import { openTlsFiles, requireServerFiles, tlsFilesIn } from "@hms/parts";
import type { Logger } from "@hms/telemetry";
import { serveFrames } from "@hms/wire";
import { edgeOf, mountMetrics } from "./open-edge.ts";
import type { PlatformMetrics } from "./platform-metrics.ts";

/** What other machines are answered with. */
export interface ServeNetworkOptions {
  kernel: Kernel;
  metrics: PlatformMetrics;
  /** "tls://host:port". */
  address: string;
  paths: Pick<InstancePaths, "tls">;
  log: Logger;
}

/** Whoever has a token shows it with its first call, a few milliseconds after it has connected. */
const STRANGERS = { most: 128, forMs: 10_000 };

/**
 * Answers other machines on one port by TLS 1.3, with the certificate of the tls folder: frames, gRPC, and by HTTP/1.1
 * and HTTP/2 REST, Connect and gRPC-Web. Who calls shows a certificate of the folder's authority, or none and a token.
 * Renewed files are used from the next connection on.
 * @throws HmsError FAILED_PRECONDITION if there is no certificate that can be used, ALREADY_EXISTS if somebody listens at the address
 */
export async function serveNetwork(options: ServeNetworkOptions, stack: AsyncDisposableStack): Promise<void> {
  const { kernel, metrics, address, paths, log } = options;
  requireServerFiles(tlsFilesIn(paths.tls));
  const files = openTlsFiles(tlsFilesIn(paths.tls));
  const hosts = hostsOf(files.cert, address);
  const edge = edgeOf(kernel, { hosts, peerOf }, stack);
  mountMetrics(edge, metrics);
  const onFailure = (error: unknown) =>
    log.error("the renewed certificate cannot be used; the one before stays", { error });
  const tls = { ...files, clients: "optional", onFailure } as const;
  const server = await serveFrames(kernel, { address, tls, strangers: STRANGERS, also: httpProtocols(edge.listener) });
  stack.use(server);
  stack.defer(() => edge.drain());
  log.info("other machines are answered", { address: server.address });
}

const LOCAL = /^(?:[a-z0-9-]+\.)?localhost$/;

/**
 * The Host names that are answered: those that the certificate names, the one that the address does, this machine's own,
 * and addresses in digits. A foreign page's name is none of them (DNS rebinding).
 */
function hostsOf(certificate: () => string | Buffer, address: string): (name: string) => boolean {
  const own = new URL(address.replace(/^tls:/, "http:")).hostname.toLowerCase();
  let readFrom: string | Buffer | undefined;
  let read: X509Certificate | undefined;
  const current = (): X509Certificate | undefined => {
    try {
      const text = certificate();
      if (text === readFrom) return read;
      readFrom = text;
      read = new X509Certificate(text);
    } catch {
      // Whoever uses the certificate says that it cannot be used.
    }
    return read;
  };
  return (name) => {
    const isDigits = isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0;
    if (isDigits || name === own || LOCAL.test(name)) return true;
    return name !== "" && current()?.checkHost(name, { subject: "never" }) !== undefined;
  };
}
