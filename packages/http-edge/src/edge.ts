import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { type Credentials, HmsError, type Kernel, type MethodEntry } from "@hms/kernel";
import { BodyReader } from "./body-reader.ts";
import { DenialThrottle, tooManyDenials } from "./denial-throttle.ts";
import { EdgeFault, fault } from "./edge-fault.ts";
import { type EdgeTurn, splitTarget } from "./edge-turn.ts";
import { HostGuard, type HostGuardOptions, namedEnvironment } from "./host-guard.ts";
import type { HttpBinding } from "./http-binding.ts";
import { mountExchange } from "./mount-exchange.ts";
import { type Mount, type MountHandler, type MountRule, Mounts } from "./mounts.ts";
import { REFERENCE_RULE, ReferencePages } from "./reference-pages.ts";
import { baseFields, sendFault } from "./reply.ts";
import { challenge, credentialsOf, stepUpChallenge } from "./request-credentials.ts";
import { requestIdOf } from "./request-metadata.ts";
import { methodName, type RouteConflict } from "./route-table.ts";
import { RouteTables } from "./route-tables.ts";
import type { TreeMatch } from "./route-tree.ts";
import { streamExchange } from "./stream-exchange.ts";
import { type ExchangeShare, type RoutedTurn, unaryExchange } from "./unary-exchange.ts";

/** How an edge is set up. */
export interface EdgeOptions extends HostGuardOptions {
  /** The largest request message, bytes; default 4 MiB. */
  readonly maxBodyBytes?: number;
  /** What all requests that are arriving may take together, bytes; default 256 MiB. */
  readonly maxTotalBodyBytes?: number;
  /** How long a request's body may take; default 30 s. */
  readonly bodyTimeoutMs?: number;
  /** What challenges and the reference name to people; default "hms-sys". */
  readonly realm?: string;
  /**
   * Gets first refusal of every request that Host and Origin let in: other protocols on the same port. True: it answers.
   */
  readonly others?: (request: IncomingMessage, response: ServerResponse, terms: OtherTerms) => boolean;
  /** What a request's connection has shown by itself, where connections are by TLS; default: nothing. */
  readonly peerOf?: (request: IncomingMessage) => Pick<Credentials, "peer" | "known">;
  /** Told when routes of an environment contradict each other. */
  readonly onConflicts?: (environment: string, conflicts: readonly RouteConflict[]) => void;
}

/** What the edge has read of a request that another protocol may answer. */
export interface OtherTerms {
  readonly requestId: string;
  readonly environment: string;
}

const NOTHING = Object.freeze({});
const DEFAULT_MAX_BODY_BYTES = 4 * 1024 * 1024;
const DEFAULT_MAX_TOTAL_BODY_BYTES = 256 * 1024 * 1024;
const DEFAULT_BODY_TIMEOUT_MS = 30_000;

/** The HTTP face of a kernel: REST by google.api.http and plain JSON calls, from live descriptors. */
export class Edge implements Disposable {
  readonly #kernel: Kernel;
  readonly #guard: HostGuard;
  readonly #tables: RouteTables;
  readonly #share: ExchangeShare;
  readonly #mounts = new Mounts();
  readonly #denials = new DenialThrottle();
  readonly #realm: string;
  readonly #others: NonNullable<EdgeOptions["others"]>;
  readonly #peerOf: NonNullable<EdgeOptions["peerOf"]>;

  constructor(kernel: Kernel, options: EdgeOptions = {}) {
    this.#kernel = kernel;
    this.#guard = new HostGuard(options);
    this.#tables = new RouteTables(kernel, options.onConflicts);
    const bodies = new BodyReader({
      maxBytes: options.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES,
      maxTotalBytes: options.maxTotalBodyBytes ?? DEFAULT_MAX_TOTAL_BODY_BYTES,
      timeoutMs: options.bodyTimeoutMs ?? DEFAULT_BODY_TIMEOUT_MS,
    });
    this.#share = { kernel, bodies, watches: new Set() };
    this.#realm = options.realm ?? "hms-sys";
    const pages = new ReferencePages((environment) => this.#tables.fresh(environment), this.#realm);
    this.mount("/docs", REFERENCE_RULE, pages.docs);
    this.mount("/openapi.json", REFERENCE_RULE, pages.openApi);
    this.mount("/openapi", REFERENCE_RULE, pages.openApi);
    this.#others = options.others ?? (() => false);
    this.#peerOf = options.peerOf ?? (() => NOTHING);
  }

  /** Answers one request; for `server.on("request", edge.listener)`. */
  readonly listener = (request: IncomingMessage, response: ServerResponse): void => {
    const requestId = requestIdOf(request.headers);
    const begun = { request, response, requestId, path: "", query: "" };
    const nobody = { isPlatformHost: false, foreignOrigin: undefined, peer: NOTHING };
    const early = { ...begun, environment: "", ...nobody };
    try {
      const turn = this.#turnOf(early);
      if (!this.#isOther(turn)) this.#answer(turn);
    } catch (thrown) {
      this.#fail(early, thrown, false);
    }
  };

  /** Routes of an environment that contradict each other or cannot be served. */
  conflicts(environment: string): readonly RouteConflict[] {
    return this.#tables.of(environment).conflicts;
  }

  /**
   * Serves a foreign protocol below a path of its own, with the same principals, policy, limits and audit as a call.
   * @throws HmsError INVALID_ARGUMENT if the prefix is no path, ALREADY_EXISTS if it is taken
   */
  mount(prefix: string, rule: MountRule, handler: MountHandler): void {
    this.#mounts.add({ prefix, rule, handler });
  }

  #turnOf(early: EdgeTurn): EdgeTurn {
    const { headers, url = "" } = early.request;
    const target = splitTarget(url);
    if (target === undefined) throw fault("INVALID_ARGUMENT", "The request's target is not a path.");
    const host = hostField(headers);
    const byHost = this.#guard.environmentOf(host);
    const named = headers["x-hms-environment"];
    const environment = named === undefined ? byHost : namedEnvironment(named as string);
    const isForeign = this.#guard.isForeignPage(headers.origin, host);
    const isPlatformHost = this.#guard.isPlatformHost(host);
    // Nothing that a page there leads to may learn its address.
    if (isPlatformHost) early.response.setHeader("referrer-policy", "same-origin");
    const foreignOrigin = isForeign ? headers.origin : undefined;
    return { ...early, ...target, environment, isPlatformHost, foreignOrigin, peer: this.#peerOf(early.request) };
  }

  #isOther(turn: EdgeTurn): boolean {
    const { request, response } = turn;
    if (!this.#others(request, response, turn)) return false;
    const { authorization } = request.headers;
    response.once("close", () => {
      if (response.statusCode === 401) this.#denials.noteDenial(authorization);
    });
    return true;
  }

  #answer(turn: EdgeTurn): void {
    const { path, request } = turn;
    const mount = this.#mounts.find(path);
    if (mount !== undefined) {
      this.#useMount(turn, mount);
      return;
    }
    const match = this.#match(turn.environment, path, request.method as string);
    if (match.kind === "found") this.#call(turn, match.target, match.segments);
    else if (match.kind === "no-path")
      throw fault("NOT_FOUND", `No method answers at ${path}; /docs shows what does.`, { reason: "NO_ROUTE" });
    else if (request.method === "OPTIONS") sendOptions(turn, match.allowed);
    else throw methodNotAllowed(match.allowed);
  }

  #match(environment: string, path: string, method: string): TreeMatch<HttpBinding> {
    const table = this.#tables.of(environment);
    const match = table.tree.match(path, method);
    if (match.kind !== "no-path") return match;
    const fresh = this.#tables.fresh(environment);
    return fresh === table ? match : fresh.tree.match(path, method);
  }

  #call(turn: EdgeTurn, binding: HttpBinding, segments: readonly string[]): void {
    const { parent, name } = binding.method;
    const found = this.#kernel.find(parent.typeName, name);
    const run = (entry: MethodEntry) => this.#run({ ...turn, binding, segments, entry });
    const start = () => (found === undefined ? this.#resolve(binding, turn.environment).then(run) : run(found));
    this.#follow(turn, this.#admitted(turn, start, false), false);
  }

  #useMount(turn: EdgeTurn, mount: Mount): void {
    const { rule } = mount;
    if (rule.public) {
      mountExchange(this.#share, turn, mount).catch((thrown) => this.#fail(turn, thrown, false));
      return;
    }
    const forBrowser = rule.browser === true;
    const start = () => mountExchange(this.#share, turn, mount);
    this.#follow(turn, this.#admitted(turn, start, forBrowser), forBrowser);
  }

  /** Starts work at once, or while too many have been denied of late, once it is known who asks. */
  #admitted(turn: EdgeTurn, start: () => Promise<void>, forBrowser: boolean): Promise<void> {
    if (this.#denials.hasRoomFor(turn.request.headers.authorization)) return start();
    return this.#assertKnown(turn, forBrowser).then(start);
  }

  async #assertKnown({ request, isPlatformHost }: EdgeTurn, forBrowser: boolean): Promise<void> {
    try {
      const credentials = credentialsOf(request.headers, { forBrowser, isPlatformHost });
      const { kind } = await this.#kernel.options.identity.authenticate(credentials);
      if (kind === "anonymous") throw tooManyDenials();
    } catch (error) {
      throw EdgeFault.from(error).error.code === "UNAUTHENTICATED" ? tooManyDenials() : error;
    }
  }

  #follow(turn: EdgeTurn, work: Promise<void>, forBrowser: boolean): void {
    const { authorization } = turn.request.headers;
    work.then(
      () => this.#denials.noteGood(authorization),
      (thrown) => {
        if (EdgeFault.from(thrown).error.code === "UNAUTHENTICATED") this.#denials.noteDenial(authorization);
        this.#fail(turn, thrown, forBrowser);
      },
    );
  }

  async #resolve({ method }: HttpBinding, environment: string): Promise<MethodEntry> {
    const entry = await this.#kernel.resolve({ service: method.parent.typeName, method: method.name, environment });
    if (entry !== undefined) return entry;
    const message = `${methodName(method)} is not served any more in the environment "${environment}".`;
    throw fault("NOT_FOUND", message, { reason: "NO_ROUTE" });
  }

  async #run(turn: RoutedTurn): Promise<void> {
    if (turn.binding.isReadOnly && turn.entry.mutates) throw methodNotAllowed(["POST"]);
    if (turn.entry.desc.methodKind === "unary") return unaryExchange(this.#share, turn);
    // A stream's head alone could only be had by running it, for ever perhaps.
    if (turn.request.method === "HEAD") throw methodNotAllowed([turn.binding.httpMethod], false);
    return streamExchange(this.#share, turn);
  }

  /** Never throws: nobody is behind it. */
  #fail(turn: EdgeTurn, thrown: unknown, forBrowser: boolean): void {
    try {
      this.#sendFailure(turn, thrown, forBrowser);
    } catch {
      turn.response.destroy();
    }
  }

  #sendFailure(turn: EdgeTurn, thrown: unknown, forBrowser: boolean): void {
    const found = EdgeFault.from(thrown);
    if (found.error.code === "UNAUTHENTICATED") {
      const headers = { "www-authenticate": challenge(this.#realm, forBrowser), ...found.headers };
      sendFault(turn, new EdgeFault(found.error, { status: found.status, headers }));
    } else if (found.error.details.reason === "STEP_UP_REQUIRED") {
      const headers = { "www-authenticate": stepUpChallenge(this.#realm, found.error), ...found.headers };
      sendFault(turn, new EdgeFault(found.error, { status: found.status, headers }));
    } else sendFault(turn, found);
  }

  /** Ends streams that only read, because the server stops: their clients come back to its successor. */
  drain(): void {
    const error = new HmsError("UNAVAILABLE", "The server is stopping; try again when it is back.", {
      reason: "SERVER_STOPPING",
    });
    for (const call of this.#share.watches) call.end(error);
  }

  [Symbol.dispose](): void {
    this.#tables[Symbol.dispose]();
  }
}

/** HTTP/2 has a field of its own for it; both must say the same (RFC 9113, section 8.3.1), or each hop reads another. */
function hostField(headers: IncomingHttpHeaders): string | undefined {
  const authority = headers[":authority"];
  if (typeof authority !== "string") return headers.host;
  if (headers.host !== undefined && headers.host.toLowerCase() !== authority.toLowerCase()) {
    throw fault("INVALID_ARGUMENT", "The request's Host and :authority differ.");
  }
  return authority;
}

function allowOf(methods: readonly string[], withHead = true): string {
  const allowed = withHead && methods.includes("GET") ? [...methods, "HEAD"] : methods;
  return [...new Set(allowed)].sort().join(", ");
}

// Also what a browser asks before a page of another origin may call (the Fetch standard's preflight).
function sendOptions(turn: EdgeTurn, methods: readonly string[]): void {
  const allow = allowOf(methods);
  const fields = [...baseFields(turn), "allow", allow];
  if (turn.foreignOrigin !== undefined) {
    const wanted = turn.request.headers["access-control-request-headers"];
    fields.push("access-control-allow-methods", allow, "access-control-max-age", "600");
    if (wanted !== undefined) fields.push("access-control-allow-headers", wanted as string);
  }
  turn.response.writeHead(204, fields);
  turn.response.end();
}

function methodNotAllowed(methods: readonly string[], withHead = true): EdgeFault {
  const allow = allowOf(methods, withHead);
  return fault("UNIMPLEMENTED", `This path takes ${allow}.`, {
    status: 405,
    reason: "METHOD_NOT_ALLOWED",
    headers: { allow },
  });
}
