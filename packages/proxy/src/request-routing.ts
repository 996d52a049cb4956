import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { answerChallenge, type ChallengeAnswer } from "./acme-challenge.ts";
import type { ProxyRequest } from "./client-messages.ts";
import { Endpoint } from "./endpoint.ts";
import type { ErrorReply } from "./error-reply.ts";
import type { ClientFacts } from "./http2-frontend.ts";
import { isConfidential, isPlatformHost, type PlatformEdge } from "./platform-edge.ts";
import type { ProxyHandler } from "./proxy-engine.ts";
import { hasDotSegments, parseRequestTarget, splitAuthority } from "./request-target.ts";
import { type RouteTarget, Service } from "./service.ts";
import type { TableState } from "./table-state.ts";
import { type GatewayTlsTerms, redirectToTls } from "./tls-redirect.ts";

/** Where a request goes, or why it goes nowhere. */
export type Resolution =
  | { target: RouteTarget; path: string; host: string; trustsOrigin: boolean; refusal: null }
  | { target: null; refusal: ErrorReply };

/** A handler as the engine's own servers use it. */
export interface Router extends ProxyHandler {
  resolve(request: ProxyRequest): Resolution;
  /** Where a CONNECT goes; absent: nowhere. */
  resolveConnect?(request: ProxyRequest): RouteTarget | ErrorReply;
  /** Present: clients may speak HTTP/2. Takes requests that only HTTP/2 can carry; false: it is none of those. */
  takesHttp2?(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, client: ClientFacts): boolean;
}

function refuse(status: number, message: string, fields = ""): Resolution {
  return { target: null, refusal: { status, message, fields } };
}

const NO_ENVIRONMENT = { kind: "no-environment" } as const;
const NOT_A_TARGET = "The request's target is neither a path nor an http address.";
const LOOK_ALIKE =
  'A field\'s name has "_" where one that is known has "-"; programs would take the one for the other.';
const BODY_OF_GET =
  "A GET or HEAD request has no body; programs that do not expect it would take it for the next request.";
const ENVIRONMENT_HOST = /^([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)\.localhost(?::\d+)?$/i;

// Most requests in a row ask for the same host.
let lastHost = "";
let lastEnvironment = "default";

/** The environment that a Host field selects: `<environment>.localhost`, with or without a port, otherwise "default". */
export function environmentOfHost(host: string): string {
  if (host !== lastHost) {
    lastHost = host;
    lastEnvironment = ENVIRONMENT_HOST.exec(host)?.[1]?.toLowerCase() ?? "default";
  }
  return lastEnvironment;
}

/** Routes by environment, path and method. */
export class GatewayRouter implements Router {
  readonly label = "gateway";
  readonly #table: TableState;
  readonly #edge: PlatformEdge | undefined;
  readonly #challenges: ChallengeAnswer | undefined;
  #tls: GatewayTlsTerms | undefined;

  /** How clients without TLS are treated from now on; undefined: as if there were none. */
  useTls(terms: GatewayTlsTerms | undefined): void {
    this.#tls = terms;
  }

  constructor(table: TableState, edge?: PlatformEdge, challenges?: ChallengeAnswer) {
    this.#table = table;
    this.#edge = edge;
    this.#challenges = challenges;
  }

  resolve(request: ProxyRequest): Resolution {
    const parsed = parseRequestTarget(request.url as string);
    if (parsed === null) return refuse(400, NOT_A_TARGET);
    if (hasDotSegments(parsed.path)) return refuse(400, 'The path has "." or ".." segments; send it resolved.');
    const fault = ambiguityOf(request);
    if (fault !== null) return refuse(400, fault);
    const proof = answerChallenge(this.#challenges, parsed.path);
    if (proof !== null) return { target: null, refusal: proof };
    const host = parsed.authority ?? request.head.host ?? "";
    if (this.#edge && isPlatformHost(host)) {
      return atEdge(request, { target: this.#edge.target, path: parsed.target, host });
    }
    const environment = environmentOfHost(host);
    const matcher = this.#table.matcher(environment);
    const match = matcher?.match(parsed.path, request.method as string) ?? NO_ENVIRONMENT;
    if (match.kind === "found") {
      const redirect = redirectToTls(this.#tls, request, { host, target: parsed.target });
      if (redirect !== null) return { target: null, refusal: redirect };
      return { target: match.target, path: parsed.target, host, trustsOrigin: false, refusal: null };
    }
    if (match.kind === "no-method") return refuse(405, `This path takes ${match.allow}.`, `allow: ${match.allow}\r\n`);
    const target = this.#edge?.targetOf(request, parsed.path);
    if (target) return atEdge(request, { target, path: parsed.target, host });
    if (match.kind === "no-path") return refuse(404, `No service has a route for this path in "${environment}".`);
    return refuse(404, `There is no environment "${environment}".`);
  }

  /** Calls of gRPC that no service has a route for go to the platform; they need trailers, which HTTP/1.1 loses. */
  takesHttp2(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, client: ClientFacts): boolean {
    if (this.#edge === undefined || !isGrpc(headers["content-type"])) return false;
    const host = headers[":authority"] ?? headers.host ?? "";
    const path = parseRequestTarget(headers[":path"] ?? "")?.path ?? "";
    const match = this.#table.matcher(environmentOfHost(host))?.match(path, headers[":method"] ?? "");
    const isOurs = isPlatformHost(host) || (headers.authorization !== undefined && match?.kind !== "found");
    // What is not to be read on its way is refused where every other request is.
    if (!isOurs || !isConfidential(client)) return false;
    this.#edge.carryHttp2(stream, headers, client);
    return true;
  }
}

/** A request for the platform itself, where it can be answered without being read on its way. */
function atEdge({ socket }: ProxyRequest, place: { target: RouteTarget; path: string; host: string }): Resolution {
  if (isConfidential(socket)) return { ...place, trustsOrigin: false, refusal: null };
  return refuse(403, "The platform itself answers other machines over TLS only: nobody else is to read what is shown.");
}

const isGrpc = (type: string | undefined) => type !== undefined && /^application\/grpc(?:$|[+;])/i.test(type);

/** What of a request programs behind could read in another way than the gateway does; null: nothing. */
function ambiguityOf({ head, method }: ProxyRequest): string | null {
  if (head.hasLookAlike) return LOOK_ALIKE;
  return head.hasBody && (method === "GET" || method === "HEAD") ? BODY_OF_GET : null;
}

/** Sends everything to one service. */
export class ServiceRouter implements Router {
  readonly label: string;
  readonly #target: RouteTarget;

  constructor(service: Service) {
    this.label = `mesh ${service.environment}/${service.name}`;
    this.#target = { service, metrics: service.meshRoute, gate: null };
  }

  resolve(request: ProxyRequest): Resolution {
    const parsed = parseRequestTarget(request.url as string);
    if (parsed === null) return refuse(400, NOT_A_TARGET);
    const host = parsed.authority ?? request.head.host ?? "";
    return { target: this.#target, path: parsed.target, host, trustsOrigin: true, refusal: null };
  }
}

const MESH_SUFFIX = ".mesh";
const MAX_OUTSIDE_HOSTS = 256;

/** Serves programs that find the mesh by proxy variables. */
export class ForwardProxyRouter implements Router {
  readonly label = "forward proxy";
  readonly #table: TableState;
  /** Requests to hosts outside of the mesh count together. */
  readonly outside = new Service("", "outside");
  readonly #outsideHosts = new Map<string, Service>();
  readonly #maxHeadBytes: number;

  constructor(table: TableState, maxHeadBytes: number) {
    this.#table = table;
    this.#maxHeadBytes = maxHeadBytes;
  }

  resolve(request: ProxyRequest): Resolution {
    const parsed = parseRequestTarget(request.url as string);
    if (parsed === null || parsed.authority === null) {
      return refuse(400, "This is an HTTP proxy: send the whole address (http://name.mesh/path), or use CONNECT.");
    }
    const target = this.#targetOf(request, parsed.authority, 80);
    if ("status" in target) return { target: null, refusal: target };
    return { target, path: parsed.target, host: parsed.authority, trustsOrigin: true, refusal: null };
  }

  resolveConnect(request: ProxyRequest): RouteTarget | ErrorReply {
    return this.#targetOf(request, request.url as string, null);
  }

  #targetOf(request: ProxyRequest, authority: string, defaultPort: number | null): RouteTarget | ErrorReply {
    const split = splitAuthority(authority);
    const port = split?.port ?? defaultPort;
    if (!split || port === null) return { status: 400, message: "The address to reach is not host:port." };
    if (!split.host.endsWith(MESH_SUFFIX)) {
      return { service: this.#outsideHost(split.host, port), metrics: this.outside.meshRoute, gate: null };
    }
    const environment = environmentOfCredentials(request.head.proxyAuthorization);
    const name = split.host.slice(0, -MESH_SUFFIX.length);
    const service = this.#table.knownService(environment, name);
    if (!service) return { status: 404, message: `There is no service "${name}" in the environment "${environment}".` };
    return { service, metrics: service.meshRoute, gate: null };
  }

  #outsideHost(host: string, port: number): Service {
    const id = `${host}:${port}`;
    let service = this.#outsideHosts.get(id);
    if (service) return service;
    service = new Service("", id);
    const entry = { id, host, port, isOutside: true, state: "active", weight: 1, revision: 0 } as const;
    service.useEndpoints([new Endpoint(entry, this.#maxHeadBytes)]);
    service.policy = { ...service.policy, connectTimeoutMs: 10_000, retries: 0 };
    this.#outsideHosts.set(id, service);
    for (const [oldest, { inFlight }] of this.#outsideHosts) {
      if (this.#outsideHosts.size <= MAX_OUTSIDE_HOSTS) break;
      if (inFlight === 0) this.#outsideHosts.delete(oldest);
    }
    return service;
  }

  /** The endpoints outside of the mesh that have been used lately. */
  *outsideEndpoints(): Iterable<Endpoint> {
    for (const service of this.#outsideHosts.values()) yield* service.endpoints;
  }
}

/** The environment of a caller: the user name of its proxy credentials, or "default". */
export function environmentOfCredentials(authorization: string): string {
  const encoded = /^basic\s+([A-Za-z0-9+/=]+)\s*$/i.exec(authorization)?.[1];
  if (encoded === undefined) return "default";
  const user = Buffer.from(encoded, "base64").toString("utf8").split(":")[0] as string;
  return user === "" ? "default" : user;
}
