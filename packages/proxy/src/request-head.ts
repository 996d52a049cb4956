import { isPrincipalField } from "./caller.ts";
import type { FieldEdit, FieldFacts } from "./field-changes.ts";
import { Field, type FieldKind, fieldKind, isLookAlike, listMembers } from "./field-name.ts";
import { continueTrace, isRequestId, randomHex, startTrace } from "./trace-ids.ts";

/** What node:http itself asks of a request's fields before it hands the request on. */
export type NodeFields = Readonly<Record<string, string>>;

const NO_FIELDS: NodeFields = Object.freeze(Object.create(null));

/** A request's fields, read once: what the proxy treats by name, and the text of everything it passes on. */
export class RequestHead {
  /** null: none. */
  host: string | null = null;
  connection = "";
  upgrade = "";
  /** -1: none. */
  contentLength = -1;
  transferEncoding = "";
  forwardedFor = "";
  forwardedProto = "";
  forwardedHost = "";
  requestId = "";
  proxyAuthorization = "";
  expectsContinue = false;
  /** The value of Authorization; of several, joined, which is nobody's. */
  authorization = "";
  /** A field that programs behind may read as one that the proxy treats. */
  hasLookAlike = false;
  /** Two or more Host fields, which no request may have. */
  hasManyHosts = false;
  nodeFields: NodeFields = NO_FIELDS;
  /** Whether the request id is ours. */
  #hasOwnId = false;
  #traceparent = "";
  #tracestate = "";
  /** Fields without a meaning to the proxy, each with its line end. */
  #passed = "";

  /** Takes node's flat list of names and values. */
  constructor(rawHeaders: readonly string[]) {
    let passed = "";
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const name = rawHeaders[i] as string;
      const value = rawHeaders[i + 1] as string;
      const kind = fieldKind(name);
      if (kind === Field.OTHER || kind === Field.DATE) {
        if (this.#isOwn(name)) continue;
        passed += `${name}: ${value}\r\n`;
      } else if (kind === Field.HOST) this.#noteHost(value);
      else this.#note(kind, value);
    }
    this.#passed = passed;
    if (this.connection !== "") this.#applyConnection(rawHeaders);
  }

  /** Whether a field is the gateway's own to say, so that what a client says is dropped. */
  #isOwn(name: string): boolean {
    if (isPrincipalField(name)) return true;
    if (isLookAlike(name)) this.hasLookAlike = true;
    return false;
  }

  #noteHost(value: string): void {
    if (this.host !== null) this.hasManyHosts = true;
    this.host = value;
  }

  #note(kind: FieldKind, value: string): void {
    switch (kind) {
      case Field.CONNECTION:
        this.connection = joined(this.connection, value.toLowerCase());
        break;
      case Field.UPGRADE:
        this.upgrade = joined(this.upgrade, value);
        break;
      case Field.CONTENT_LENGTH:
        this.contentLength = Number(value);
        this.#tellNode("content-length", value);
        break;
      case Field.TRANSFER_ENCODING:
        this.transferEncoding = joined(this.transferEncoding, value.toLowerCase());
        this.#tellNode("transfer-encoding", value);
        break;
      case Field.EXPECT:
        this.expectsContinue = value.toLowerCase() === "100-continue";
        this.#tellNode("expect", value);
        break;
      case Field.PROXY_AUTHORIZATION:
        this.proxyAuthorization = value;
        break;
      case Field.AUTHORIZATION:
        this.authorization = joined(this.authorization, value);
        break;
      case Field.X_REQUEST_ID:
        this.requestId = value;
        break;
      default:
        this.#noteOrigin(kind, value);
    }
  }

  #noteOrigin(kind: FieldKind, value: string): void {
    if (kind === Field.X_FORWARDED_FOR) this.forwardedFor = joined(this.forwardedFor, value);
    else if (kind === Field.X_FORWARDED_PROTO) this.forwardedProto = value;
    else if (kind === Field.X_FORWARDED_HOST) this.forwardedHost = value;
    else if (kind === Field.TRACEPARENT) this.#traceparent = joined(this.#traceparent, value);
    else if (kind === Field.TRACESTATE) this.#tracestate = joined(this.#tracestate, value);
  }

  #tellNode(name: string, value: string): void {
    if (this.nodeFields === NO_FIELDS) this.nodeFields = Object.create(null);
    (this.nodeFields as Record<string, string>)[name] = value;
  }

  /** Drops the fields that Connection names (RFC 9110 §7.6.1). */
  #applyConnection(rawHeaders: readonly string[]): void {
    if (this.connection === "keep-alive" || this.connection === "close") return;
    const named = listMembers(this.connection).filter((member) => fieldKind(member) === Field.OTHER);
    if (named.length === 0 || (named.length === 1 && named[0] === "close")) return;
    let passed = "";
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const name = rawHeaders[i] as string;
      const kind = fieldKind(name);
      if (kind !== Field.OTHER && kind !== Field.DATE) continue;
      if (!named.includes(name.toLowerCase()) && !this.#isOwn(name))
        passed += `${name}: ${rawHeaders[i + 1] as string}\r\n`;
    }
    this.#passed = passed;
  }

  /** The caller's request id, or a new one. */
  chooseRequestId(): string {
    if (this.requestId === "" || !isRequestId(this.requestId)) {
      this.requestId = randomHex(32);
      this.#hasOwnId = true;
    }
    return this.requestId;
  }

  /** The head for the service, with its empty line. */
  forward(line: ForwardedLine): string {
    const { method, target, host, clientAddress, scheme, trustsOrigin, edit, facts, ownFields = "" } = line;
    const forwardedFor = this.forwardedFor === "" ? clientAddress : `${this.forwardedFor}, ${clientAddress}`;
    const proto = trustsOrigin && this.forwardedProto !== "" ? this.forwardedProto : scheme;
    const forwardedHost = trustsOrigin && this.forwardedHost !== "" ? this.forwardedHost : host;
    const passed = edit && facts ? edit.apply(this.#passed, facts) : this.#passed;
    const authorization =
      this.authorization === "" || line.hidesCredentials ? "" : `authorization: ${this.authorization}\r\n`;
    return (
      `${method} ${target} HTTP/1.1\r\nhost: ${host}\r\n${passed}${authorization}${ownFields}${this.#framing(method)}` +
      `x-forwarded-for: ${forwardedFor}\r\nx-forwarded-proto: ${proto}\r\nx-forwarded-host: ${forwardedHost}\r\n` +
      `${this.#identity()}\r\n`
    );
  }

  // A request that brings neither id gets one for both, so that each leads to the other.
  #identity(): string {
    const continued = this.#traceparent === "" ? null : continueTrace(this.#traceparent);
    const requestId = this.chooseRequestId();
    if (continued === null) {
      const traceId = this.#hasOwnId ? requestId : randomHex(32);
      return `x-request-id: ${requestId}\r\ntraceparent: ${startTrace(traceId)}\r\n`;
    }
    return `x-request-id: ${requestId}\r\n${this.#trace(continued)}`;
  }

  #trace(continued: string): string {
    return this.#tracestate === ""
      ? `traceparent: ${continued}\r\n`
      : `traceparent: ${continued}\r\ntracestate: ${this.#tracestate}\r\n`;
  }

  #framing(method: string): string {
    if (this.upgrade !== "") return `connection: upgrade\r\nupgrade: ${this.upgrade}\r\n`;
    const expect = this.expectsContinue ? "expect: 100-continue\r\n" : "";
    if (this.transferEncoding !== "") return `transfer-encoding: chunked\r\n${expect}`;
    if (this.contentLength >= 0) return `content-length: ${this.contentLength}\r\n${expect}`;
    return method === "POST" || method === "PUT" || method === "PATCH" ? "content-length: 0\r\n" : "";
  }

  /** Whether a body follows. */
  get hasBody(): boolean {
    return this.contentLength > 0 || this.transferEncoding !== "";
  }
}

/** What a forwarded head says beside the client's own fields. */
export interface ForwardedLine {
  method: string;
  /** Origin form: path and query. */
  target: string;
  host: string;
  clientAddress: string;
  scheme: "http" | "https";
  /** Whether X-Forwarded-Proto and -Host of the client are kept: yes inside the mesh, no at the gateway. */
  trustsOrigin: boolean;
  /** Changes of the client's own fields. */
  edit?: FieldEdit | null;
  /** What they may be made of; without it, nothing is changed. */
  facts?: FieldFacts;
  /** Fields that say who calls, each with its line end. */
  ownFields?: string;
  /** Whether Authorization stays here. */
  hidesCredentials?: boolean;
}

function joined(before: string, value: string): string {
  return before === "" ? value : `${before}, ${value}`;
}
