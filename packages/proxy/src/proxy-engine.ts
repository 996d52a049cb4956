import type { Server } from "node:http";
import type { ChallengeAnswer } from "./acme-challenge.ts";
import type { CallerSource } from "./caller.ts";
import type { SecureTerms } from "./certificate-set.ts";
import type { SharedLimits } from "./limit-book.ts";
import type { RoutingTable } from "./routing-table.ts";
import type { SensorReadings } from "./sensors.ts";
import type { ServiceTraffic } from "./service-traffic.ts";
import type { GatewayTlsTerms } from "./tls-redirect.ts";

/** Decides where a server's requests go; made by the engine, used with `createServer` of the same engine. */
export interface ProxyHandler {
  /** What it serves, for messages: "gateway", "mesh default/receipt-svc", "forward proxy". */
  readonly label: string;
}

/** Limits and times of an engine; every field has a default. */
export interface ProxyEngineOptions {
  /** Largest request or response head, bytes; default 32 KiB. */
  maxHeadBytes?: number;
  /** Largest request body, bytes; default none. Larger ones are answered 413. */
  maxRequestBodyBytes?: number;
  /** A body that makes no progress for this long ends its exchange; default 60 s. */
  idleBodyTimeoutMs?: number;
  /** A client over TLS that has not agreed on keys by then, however busy it is, is let go; default 10 s. */
  handshakeTimeoutMs?: number;
  /** An idle client connection is closed after this long; default 120 s. */
  clientIdleTimeoutMs?: number;
  /** Tunnels (WebSocket, CONNECT) of an endpoint that drains are closed after this long; default 10 s. */
  tunnelGraceMs?: number;
  /** While a service that is meant to run has no replica that accepts connections, requests wait; default 10 s. */
  replicaPatienceMs?: number;
  /** Called when the first request begins to wait for a replica that it starts (`wakeMs` of a service). */
  onWaiting?: () => void;
  /**
   * The unix socket of the platform's own HTTP edge. The gateway sends it what no route of a service takes, if it shows
   * credentials or is for the reference pages (/docs, /openapi.json); default: none, everything else is 404.
   */
  edgeSocket?: string;
  /** Who knows callers by what they show; default: nobody, and routes that demand one refuse (503). */
  callers?: CallerSource;
  /** What an authority gets that asks at the gateway for proof of a name (RFC 8555 §8.3); default: nothing of ours. */
  challengeAnswer?: ChallengeAnswer;
  /** Counts rates together with other gateways; default: each counts for itself. */
  sharedLimits?: SharedLimits;
}

/** A server over TLS, for HTTP/1.1 and where its handler takes it HTTP/2. */
export interface SecureServer {
  readonly server: Server;
  /**
   * Holds from the next connection on; those that stand go on, but for clients with a certificate if one of their
   * authorities is taken away. Raises INVALID_ARGUMENT, having changed nothing.
   */
  useCertificates(tls: SecureTerms): void;
}

/** The proxying engine: balances, retries, drains and measures; knows nothing of where tables come from. */
export interface ProxyEngine extends AsyncDisposable {
  /**
   * Replaces the routing table at once; running requests and the state of endpoints that stay are untouched.
   * Raises INVALID_ARGUMENT, and keeps the old table, if the new one contradicts itself.
   */
  apply(table: RoutingTable): void;
  /** Routes by environment (`<env>.localhost`, otherwise "default"), path and method. */
  readonly gatewayHandler: ProxyHandler;
  /** Sends every request to one service, whether or not the present table knows it (503 until it does). */
  serviceHandler(environment: string, service: string): ProxyHandler;
  /**
   * An HTTP proxy: absolute-form and CONNECT for `<service>.mesh`, pass-through for other hosts.
   * The environment is the user name of the proxy credentials, default "default".
   */
  readonly forwardProxyHandler: ProxyHandler;
  /** How clients of the gateway without TLS are treated from now on; undefined: there is no TLS. */
  useTls(terms: GatewayTlsTerms | undefined): void;
  /** An HTTP server that answers through a handler; the caller decides where it listens, and may close it alone. */
  createServer(handler: ProxyHandler): Server;
  /** The same over TLS; raises INVALID_ARGUMENT if a certificate cannot be used. */
  createSecureServer(handler: ProxyHandler, tls: SecureTerms): SecureServer;
  /** Requests and tunnels that run on an endpoint now; 0 for unknown ones. */
  inFlight(endpointId: string): number;
  /** What still runs on endpoints that drain or have left the table; endpoints with nothing are left out. */
  drainingInFlight(): Map<string, number>;
  /** Calls back when the last request of an endpoint that drains or has left ends; answers with the unsubscriber. */
  onDrained(listener: (endpointId: string) => void): () => void;
  /**
   * What is counted of each service that the table knows, or has known, since the engine was built; of revisions only where
   * they are observed, unless `everyRevision` is set.
   */
  traffic(options?: { everyRevision?: boolean }): ServiceTraffic[];
  /** What was sampled of requests and denials since this was asked last, at most ten of each: nothing comes twice. */
  takeSensors(): SensorReadings;
  /** All metrics in Prometheus text exposition format 0.0.4. */
  metrics(): string;
  /** From now on every answer closes its connection (`Connection: close`); servers listen until they are closed. */
  retire(): void;
  /**
   * Closes every server of the engine: no new connections, `Connection: close` on running answers; resolves when all
   * is finished. Idle connections are cut after `idleGraceMs` (default 0), because a request may be under way on them;
   * what runs after `graceMs` (default 10 s) is cut.
   */
  close(options?: { graceMs?: number; idleGraceMs?: number }): Promise<void>;
}
