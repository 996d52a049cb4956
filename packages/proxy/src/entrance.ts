import type { Readable } from "node:stream";
import { Admission } from "./admission.ts";
import { principalFields } from "./caller.ts";
import type { ClientConnection } from "./client-connection.ts";
import type { ProxyRequest, ProxyResponse } from "./client-messages.ts";
import { type Assignment, assignmentOf } from "./division.ts";
import type { EngineContext } from "./engine-context.ts";
import type { ErrorReply } from "./error-reply.ts";
import { Exchange } from "./exchange.ts";
import type { FieldFacts } from "./field-changes.ts";
import { Passage } from "./passage.ts";
import { rewrittenTarget } from "./path-rewrite.ts";
import { changeRequest } from "./request-change.ts";
import type { Resolution } from "./request-routing.ts";
import { cacheKey, type ResponseCache, type StoredAnswer } from "./response-cache.ts";
import { ResponseHead } from "./response-head.ts";
import { ResponseWriter } from "./response-writer.ts";
import { CallerRun, type RunningCallers } from "./running-callers.ts";
import { denialOf, isSampled, keepSample } from "./sensors.ts";
import { type GatewayTlsTerms, hstsField } from "./tls-redirect.ts";

/** What an entrance needs of the engine beyond what exchanges need. */
export interface EntranceContext extends EngineContext {
  readonly cache: ResponseCache;
  readonly running: RunningCallers;
  /** What the gateway's TLS means for clients; undefined: there is none. */
  readonly tls: GatewayTlsTerms | undefined;
}

/** A request that has somewhere to go. */
export interface Arrival {
  readonly request: ProxyRequest;
  /** null: the socket is no longer node:http's, because the client asked for an upgrade. */
  readonly response: ProxyResponse | null;
  readonly resolution: Extract<Resolution, { refusal: null }>;
  readonly client: ClientConnection;
}

const NOT_CHANGED = { status: 400, message: "The request's body cannot be changed as its route demands." };
const NOBODY_KNOWS = {
  status: 503,
  message: "Whether this request may come in cannot be found out at the moment; try again in a second.",
  fields: "retry-after: 1\r\n",
};

/** Lets requests in by the rules of their routes, and begins what they came for. */
export class Entrance {
  readonly #context: EntranceContext;
  readonly #refuse: (arrival: Arrival, reply: ErrorReply) => void;

  constructor(context: EntranceContext, refuse: (arrival: Arrival, reply: ErrorReply) => void) {
    this.#context = context;
    this.#refuse = refuse;
  }

  /** Asks the route's rules, if it has any, and goes on once they have answered. */
  admit(arrival: Arrival): void {
    const { gate } = arrival.resolution.target;
    if (gate === null) {
      this.#begin(arrival, null);
      return;
    }
    const { request, client } = arrival;
    const { authorization } = request.head;
    const shown = gate.rules.auth === undefined ? null : client.certificate;
    const certificate = shown === null || isFromPage(request) ? null : shown;
    const method = request.method as string;
    const admission = gate.admit({ method, authorization, address: client.address, certificate, memo: client.memo });
    if (admission instanceof Promise) void this.#await(arrival, admission);
    else this.#enter(arrival, admission, this.#context.running.changes);
  }

  async #await(arrival: Arrival, admission: Promise<Admission>): Promise<void> {
    const { client } = arrival;
    const since = this.#context.running.changes;
    let isGone = false;
    client.user = {
      onClientClosed: () => {
        isGone = true;
      },
      onClientDrain: () => {},
    };
    const settled = await admission.catch(() => new Admission().refuse(NOBODY_KNOWS));
    client.user = null;
    if (isGone || client.socket.destroyed) settled.release();
    else this.#enter(arrival, settled, since);
  }

  #enter(arrival: Arrival, admission: Admission, since: number): void {
    admission.since = since;
    if (admission.refusal === null) this.#begin(arrival, admission);
    else {
      if (admission.refusal.rule !== undefined) this.#noteDenial(arrival, admission, admission.refusal);
      this.#refuse(arrival, admission.refusal);
    }
  }

  #noteDenial({ request, client, resolution }: Arrival, { principal }: Admission, refusal: ErrorReply): void {
    const { denials } = this.#context.sensors;
    if (!denials.isDue()) return;
    const visitor = { method: request.method as string, address: client.address, principal };
    denials.keep(denialOf(resolution.target, visitor, refusal));
  }

  #begin(arrival: Arrival, admission: Admission | null): void {
    const { request, client, resolution } = arrival;
    const { gate } = resolution.target;
    const maxBodyBytes = gate?.rules.maxBodyBytes;
    if (maxBodyBytes !== undefined && request.head.contentLength > maxBodyBytes) {
      admission?.release();
      const reply = { status: 413, message: `The request's body is larger than ${maxBodyBytes} bytes.` };
      this.#refuse(arrival, reply);
      return;
    }
    const edit = gate?.requestBody ?? null;
    if (edit === null || !request.head.hasBody) {
      this.#carry(arrival, admission);
      return;
    }
    const idleMs = resolution.target.service.policy.idleBodyTimeoutMs ?? this.#context.idleBodyTimeoutMs;
    const changing = changeRequest(request, client, { edit, idleMs }).catch(() => ({ refusal: NOT_CHANGED }));
    void changing.then((changed) => {
      if (changed === "gone" || client.socket.destroyed) admission?.release();
      else if ("body" in changed) this.#carry(arrival, admission, changed.body);
      else {
        admission?.release();
        this.#refuse(arrival, changed.refusal);
      }
    });
  }

  #carry(arrival: Arrival, admission: Admission | null, body?: Readable): void {
    const { request, response, resolution, client } = arrival;
    const context = this.#context;
    const { target } = resolution;
    const { gate } = target;
    const { tls } = context;
    const hsts = tls !== undefined && client.scheme === "https" ? hstsField(tls, resolution.host) : "";
    const { trustsOrigin } = resolution;
    const isDivided = target.service.division !== null;
    const assignment = isDivided ? assignmentOf({ target, request, client, trustsOrigin }) : null;
    const isKept = response !== null && gate !== null && gate.rules.cacheMs !== undefined;
    const keeping = isKept ? keepingOf(context.cache, arrival, { admission, assignment }) : null;
    const isGet = request.method === "GET";
    const facts = factsOf(arrival, admission);
    const passage =
      gate === null && hsts === ""
        ? null
        : new Passage({ gate, admission, hsts, facts, keeping: isGet ? keeping : null });
    const kept = keeping?.cache.find(keeping.key, performance.now());
    if (kept !== undefined && passage !== null && response !== null) {
      this.#answerKept(arrival, response, { kept, passage });
      return;
    }
    if (admission !== null) this.#noteCaller(arrival, admission);
    const forwardedHead = forwardedHeadOf(arrival, admission, facts);
    const own = body === undefined ? {} : { body };
    new Exchange({ context, client, request, response, target, assignment, forwardedHead, passage, ...own }).begin();
  }

  /** Whoever may not be served any more is not served on. */
  #noteCaller({ client, request, resolution }: Arrival, admission: Admission): void {
    const { gate } = resolution.target;
    const { visit } = admission;
    if (visit === null || gate === null) return;
    const { running } = this.#context;
    admission.begin(new CallerRun({ admission, gate, visit, client, request }), running);
  }

  #answerKept(
    { request, client, resolution }: Arrival,
    response: ProxyResponse,
    { kept, passage }: { kept: StoredAnswer; passage: Passage },
  ): void {
    const now = performance.now();
    const head = new ResponseHead();
    Object.assign(head, { status: 200, statusText: kept.statusText, contentLength: kept.body.length, hasDate: true });
    head.lines = passage.fieldsOf(kept, now);
    const writer = new ResponseWriter(client.socket);
    const isHead = request.method === "HEAD";
    const isHttp10 = request.httpVersionMinor === 0;
    const keepAlive = response.shouldKeepAlive && !this.#context.isClosing;
    writer.start(head, { requestId: request.head.chooseRequestId(), isHead, isHttp10, keepAlive });
    if (!isHead) writer.body(kept.body, 0, kept.body.length);
    writer.end();
    passage.end();
    client.idleSince = now;
    const { target } = resolution;
    target.metrics.count(200, performance.now() - now);
    const ended = { context: this.#context, target, request, forwardedHead: "" };
    if (isSampled(ended)) keepSample(ended, { endpoint: null, status: 200, headMs: performance.now() - now });
    response.noteFinished(keepAlive);
  }
}

/** Browsers show a certificate whoever has written the page: it says nothing of who asks. */
function isFromPage({ rawHeaders }: ProxyRequest): boolean {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if ((rawHeaders[i] as string).toLowerCase() === "sec-fetch-site") return true;
  }
  return false;
}

/** Where an answer is kept, or may have been kept; null: it is not to be, as far as the request says. */
function keepingOf(
  cache: ResponseCache,
  { request, resolution, client }: Arrival,
  { admission, assignment }: { admission: Admission | null; assignment: Assignment | null },
): { cache: ResponseCache; key: string } | null {
  const { service } = resolution.target;
  const isRead = request.method === "GET" || request.method === "HEAD";
  if (!isRead || request.head.hasBody) return null;
  // All that the program is told of the caller: with other roles, or another factor, it is another one.
  const caller = admission?.caller ? principalFields(admission.caller) : "";
  // What one revision says is not the other's answer.
  const side = assignment === null ? "" : String(assignment.revision);
  const place = [String(cache.generation), service.environment, service.name, side, client.scheme, resolution.host];
  const fields = admission?.hidesCredentials ? withoutCredentials(request.rawHeaders) : request.rawHeaders;
  const key = cacheKey([...place, resolution.path, caller], fields);
  return key === undefined ? null : { cache, key };
}

/** Who shows credentials to the gateway is a part of the key by name. */
function withoutCredentials(rawHeaders: readonly string[]): string[] {
  const fields: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (name.toLowerCase() !== "authorization") fields.push(name, rawHeaders[i + 1] as string);
  }
  return fields;
}

const NO_FACTS: FieldFacts = { callerName: "", requestId: "", clientAddress: "" };

function factsOf({ request, resolution, client }: Arrival, admission: Admission | null): FieldFacts {
  const { gate } = resolution.target;
  if (gate === null || (gate.requestEdit === null && gate.responseEdit === null)) return NO_FACTS;
  return {
    callerName: admission?.caller?.caller.name ?? "",
    requestId: request.head.chooseRequestId(),
    clientAddress: client.address,
  };
}

function forwardedHeadOf(
  { request, resolution, client }: Arrival,
  admission: Admission | null,
  facts: FieldFacts,
): string {
  const caller = admission?.caller;
  const { gate } = resolution.target;
  const rewrite = gate?.rules.rewrite;
  const prefix = rewrite === undefined || rewrite.strip === "" ? "" : `x-forwarded-prefix: ${rewrite.strip}\r\n`;
  return request.head.forward({
    edit: gate?.requestEdit ?? null,
    facts,
    ownFields: caller ? principalFields(caller) + prefix : prefix,
    hidesCredentials: admission?.hidesCredentials ?? false,
    method: request.method as string,
    target: rewrite === undefined ? resolution.path : rewrittenTarget(resolution.path, rewrite),
    host: resolution.host,
    clientAddress: client.address,
    scheme: client.scheme,
    trustsOrigin: resolution.trustsOrigin,
  });
}
