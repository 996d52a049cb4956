import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { networkOfAddress } from "@hms/kernel";
import type { ProxyRequest } from "./client-messages.ts";
import { EdgePulse } from "./edge-pulse.ts";
import { EdgeStreams } from "./edge-streams.ts";
import { Endpoint } from "./endpoint.ts";
import type { ClientFacts } from "./http2-frontend.ts";
import { DEFAULT_TRAFFIC_POLICY } from "./routing-table.ts";
import { type RouteTarget, Service } from "./service.ts";

/** A call of the platform may take as long as its caller waits, and a watch says nothing for hours, while its server lives. */
const PATIENCE_MS = 24 * 3600 * 1000;

/**
 * Every host that could be the platform's own, with or without a port, and what browsers take for a part of it: no service
 * answers there. Which one it is, only the edge knows.
 */
const PLATFORM_HOST = /^(?:.*\.)?hms(?:-[a-z2-7]{26})?\.localhost\.?\s*(?::\d+)?$/i;

/** Whether a Host field may ask for the platform itself. */
export function isPlatformHost(host: string): boolean {
  return PLATFORM_HOST.test(host);
}

/**
 * Whether the platform itself answers on a connection: over TLS, and on this machine. Sessions and tokens would be readable on
 * their way from anywhere else, by whoever carries them.
 */
export function isConfidential(client: { remoteAddress?: string | undefined; encrypted?: boolean }): boolean {
  return client.encrypted === true || networkOfAddress(client.remoteAddress ?? "") === "loopback";
}

const REFERENCE = /^\/(?:docs(?:\/|$)|openapi(?:\.json$|\/))/;

/** The platform's own HTTP edge: gets what no route of a service takes, from callers who show who they are. */
export class PlatformEdge {
  readonly service = new Service("", "hms-sys");
  readonly #target: RouteTarget;
  readonly #streams: EdgeStreams;
  readonly #pulse: EdgePulse;

  constructor(socketPath: string, maxHeadBytes: number) {
    const entry = {
      id: "hms-sys edge",
      host: "",
      port: 0,
      socketPath,
      state: "active",
      weight: 1,
      revision: 0,
    } as const;
    const endpoint = new Endpoint(entry, maxHeadBytes);
    this.service.useEndpoints([endpoint]);
    this.service.policy = { ...DEFAULT_TRAFFIC_POLICY, requestTimeoutMs: PATIENCE_MS, idleBodyTimeoutMs: PATIENCE_MS };
    this.service.absence = "The platform's server is away, so its own functions do not answer; services go on.";
    this.#streams = new EdgeStreams(socketPath, this.service.absence);
    this.#pulse = new EdgePulse({
      socketPath,
      isWaiting: () => this.service.inFlight > 0 || this.#streams.running > 0,
      silent: () => {
        for (const connection of [...endpoint.connections]) {
          if (connection.isBusy && !connection.isTunnel) connection.fail("silent", "no sign of life");
        }
        this.#streams.close();
      },
    });
    this.#target = { service: this.service, metrics: this.service.routeMetrics(""), gate: null };
  }

  /** Where everything goes that may ask the platform's own host: a browser's session there is for no service to see. */
  get target(): RouteTarget {
    return this.#target;
  }

  /** Carries a call that only HTTP/2 can carry. */
  carryHttp2(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, client: ClientFacts): void {
    this.#streams.carry(stream, headers, client);
  }

  /** Cuts what still runs by HTTP/2. */
  close(): void {
    this.#pulse.close();
    this.#streams.close();
  }

  /** Where a request goes that no route takes: here with credentials or for the reference pages, else nowhere. */
  targetOf({ head }: ProxyRequest, path: string): RouteTarget | undefined {
    return REFERENCE.test(path) || head.authorization !== "" ? this.#target : undefined;
  }
}
