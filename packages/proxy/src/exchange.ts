import type { Readable } from "node:stream";
import type { ClientConnection, ClientUser } from "./client-connection.ts";
import type { ProxyRequest, ProxyResponse } from "./client-messages.ts";
import { ContinueWait } from "./continue-wait.ts";
import { type Endpoint, isUnwell } from "./endpoint.ts";
import type { EngineContext } from "./engine-context.ts";
import { type ErrorReply, renderErrorReply } from "./error-reply.ts";
import { atTurnEnd, type TurnMember, turnNow } from "./event-turn.ts";
import type { ExchangeInput } from "./exchange-input.ts";
import type { HeldAnswer } from "./held-answer.ts";
import type { Passage } from "./passage.ts";
import { RequestBody } from "./request-body.ts";
import type { RequestHead } from "./request-head.ts";
import type { ResponseHead } from "./response-head.ts";
import { ResponseWriter } from "./response-writer.ts";
import { decideRetry, MAX_CONNECT_ATTEMPTS } from "./retry-policy.ts";
import type { RouteTarget } from "./service.ts";
import { switchingHead, Tunnel } from "./tunnel.ts";
import type { UpstreamConnection, UpstreamFailure, UpstreamUser } from "./upstream-connection.ts";
import { replyFor, replyForNobody, replyForOpenBreaker, replyForUnchanged } from "./upstream-reply.ts";

const NONE_TRIED: readonly Endpoint[] = Object.freeze([]);

/** Carries one request to an endpoint and its response back; tries again where that does no harm. */
export class Exchange implements UpstreamUser, ClientUser, TurnMember {
  readonly #context: EngineContext;
  readonly #client: ClientConnection;
  readonly #request: ProxyRequest;
  readonly #response: ProxyResponse | null;
  readonly #target: RouteTarget;
  readonly #forwardedHead: string;
  readonly #passage: Passage | null;
  readonly #source: Readable;
  readonly #head: RequestHead;
  readonly #writer: ResponseWriter;
  readonly #startedAt = turnNow();
  #body: RequestBody | null = null;
  #endpoint: Endpoint | null = null;
  #connection: UpstreamConnection | null = null;
  #held: HeldAnswer | null = null;
  #tried: readonly Endpoint[] = NONE_TRIED;
  readonly #continuing: ContinueWait;
  #sentAt = 0;
  #retries = 0;
  #connectAttempts = 0;
  #hasSent = false;
  /** Waits for the end of the turn to be sent. */
  #isSending = false;
  /** The service has said all; the last bytes wait for the end of the turn. */
  #isAnswered = false;
  #hasEnded = false;
  #isTunnel = false;
  #status = 0;

  constructor(input: ExchangeInput) {
    this.#context = input.context;
    this.#client = input.client;
    this.#request = input.request;
    this.#response = input.response;
    this.#target = input.target;
    this.#forwardedHead = input.forwardedHead;
    this.#passage = input.passage;
    this.#source = input.body ?? input.request;
    this.#head = input.request.head;
    this.#writer = new ResponseWriter(input.client.socket);
    this.#continuing = new ContinueWait(input.client.socket, () => this.#body?.start());
  }

  /** Begins; the client's connection is its own until it ends. */
  begin(): void {
    const { service } = this.#target;
    this.#client.user = this;
    service.inFlight++;
    service.budget.deposit();
    if (this.#head.hasBody) this.#beginBody();
    this.#attempt(this.#startedAt);
  }

  #beginBody(): void {
    const { contentLength } = this.#head;
    this.#body = new RequestBody(this.#source, this, { contentLength, maxBytes: this.#maxBodyBytes });
    if (this.#head.expectsContinue) this.#continuing.begin();
    else this.#body.start();
  }

  get #maxBodyBytes(): number {
    // A changed body was measured before.
    if (this.#source !== this.#request) return Number.POSITIVE_INFINITY;
    return Math.min(this.#passage?.maxBodyBytes ?? Number.POSITIVE_INFINITY, this.#context.maxRequestBodyBytes);
  }

  #attempt(now: number): void {
    const endpoint = this.#target.service.balancer.pick(now, this.#tried);
    if (endpoint === null) {
      this.#fail(replyForNobody(this.#target.service));
      return;
    }
    if (endpoint.isLeftAlone(now)) {
      this.#fail(replyForOpenBreaker(this.#target.service, endpoint.ejectedUntil - now));
      return;
    }
    endpoint.inFlight++;
    endpoint.beginTrial(now);
    this.#endpoint = endpoint;
    this.#hasSent = false;
    this.#isSending = false;
    const pooled = endpoint.takeIdle(this, now);
    this.#connection = pooled ?? endpoint.connect(this);
    if (pooled === null) this.#connection.deadlineAt = now + this.#target.service.policy.connectTimeoutMs;
    else this.#sendSoon();
  }

  #sendSoon(): void {
    this.#isSending = true;
    atTurnEnd(this);
  }

  onTurnEnd(): void {
    if (this.#hasEnded) return;
    if (this.#isAnswered) this.#complete();
    else if (this.#isSending) this.#send(turnNow());
  }

  #send(now: number): void {
    const connection = this.#connection as UpstreamConnection;
    this.#isSending = false;
    connection.expectResponse(this.#request.method as string);
    this.#sentAt = now;
    if (this.#body === null) {
      this.#hasSent = true;
      connection.deadlineAt = now + this.#requestTimeoutMs;
      connection.socket.write(this.#forwardedHead, "latin1");
      return;
    }
    connection.deadlineAt = now + this.#idleBodyTimeoutMs;
    this.#body.attach(connection, this.#forwardedHead, this.#head.expectsContinue);
  }

  onBodyProgress(): void {
    if (this.#connection) this.#connection.deadlineAt = turnNow() + this.#idleBodyTimeoutMs;
  }

  onBodySent(): void {
    this.#sentAt = turnNow();
    if (!this.#connection || this.#writer.isStarted) return;
    this.#connection.deadlineAt = this.#sentAt + this.#requestTimeoutMs;
  }

  onBodyTooLarge(): void {
    const message = `The request's body is larger than ${this.#maxBodyBytes} bytes.`;
    this.#fail({ status: 413, message });
  }

  onUpstreamConnected(): void {
    this.#endpoint?.noteReached();
    this.#sendSoon();
  }

  onUpstreamDrain(): void {
    this.#body?.onDrain();
  }

  onInformational(head: ResponseHead): void {
    if (head.status === 100) this.#continuing.grant();
    else if (this.#request.httpVersionMinor === 1) {
      this.#client.socket.write(`HTTP/1.1 ${head.statusText}\r\n${head.lines}\r\n`, "latin1");
    }
  }

  onResponseHead(head: ResponseHead): void {
    const now = turnNow();
    const connection = this.#connection as UpstreamConnection;
    this.#status = head.status;
    this.#endpoint?.latency.observe(now - this.#sentAt, now);
    if (head.status === 101) {
      this.#upgrade(connection, head);
      return;
    }
    this.#noteAnswer(!isUnwell(head.status), now);
    connection.deadlineAt = now + this.#idleBodyTimeoutMs;
    this.#held = this.#passage?.hold(head, this.#request.method === "HEAD") ?? null;
    if (this.#held === null) this.#startAnswer(head);
  }

  #startAnswer(head: ResponseHead): void {
    this.#passage?.onHead(head);
    const isUnread = this.#continuing.isPending;
    this.#continuing.end();
    this.#writer.start(head, {
      requestId: this.#head.requestId,
      isHead: this.#request.method === "HEAD",
      isHttp10: this.#request.httpVersionMinor === 0,
      keepAlive: this.#keepsAlive() && !isUnread,
    });
  }

  #noteAnswer(isGood: boolean, now: number): void {
    const { breaker } = this.#target.service.policy;
    const isOpened = breaker !== undefined && this.#endpoint?.noteAnswer(isGood, breaker, now) === true;
    if (isOpened) this.#target.service.metrics.ejections++;
  }

  get #requestTimeoutMs(): number {
    return this.#passage?.requestTimeoutMs ?? this.#target.service.policy.requestTimeoutMs;
  }

  get #idleBodyTimeoutMs(): number {
    return this.#target.service.policy.idleBodyTimeoutMs ?? this.#context.idleBodyTimeoutMs;
  }

  #keepsAlive(): boolean {
    return this.#response?.shouldKeepAlive === true && !this.#context.isClosing;
  }

  onResponseBody(bytes: Buffer, start: number, end: number): void {
    if (this.#hasEnded) return;
    if (this.#held !== null) {
      if (!this.#held.take(bytes, start, end))
        this.#fail(replyForUnchanged(this.#target.service, "is too large for that"));
      return;
    }
    this.#passage?.onBody(bytes, start, end);
    this.#writer.body(bytes, start, end);
  }

  onReadEnd(): void {
    // What ends the response is written with it, at the end of the turn.
    if (this.#connection === null) return;
    if (this.#held !== null) this.#connection.deadlineAt = turnNow() + this.#idleBodyTimeoutMs;
    if (!this.#writer.isStarted) return;
    if (!this.#writer.flush()) this.#connection.pause();
    this.#connection.deadlineAt = turnNow() + this.#idleBodyTimeoutMs;
  }

  onClientDrain(): void {
    this.#connection?.resume();
  }

  onResponseEnd(): void {
    if (this.#hasEnded || !this.#releaseHeld()) return;
    const connection = this.#connection as UpstreamConnection;
    const endpoint = this.#leaveEndpoint();
    if (this.#body !== null && !this.#body.isComplete) connection.destroy();
    else endpoint?.giveBack(connection, turnNow());
    this.#passage?.onComplete(turnNow());
    this.#isAnswered = true;
    atTurnEnd(this);
  }

  /** Starts the answer that was held back; false: it could not be changed, and the client was told. */
  #releaseHeld(): boolean {
    const body = this.#held?.finish();
    this.#held = null;
    if (body === undefined) return true;
    if (typeof body === "string") {
      this.#fail(replyForUnchanged(this.#target.service, body));
      return false;
    }
    this.#startAnswer((this.#connection as UpstreamConnection).head);
    this.#passage?.onBody(body, 0, body.length);
    this.#writer.body(body, 0, body.length);
    return true;
  }

  #complete(): void {
    this.#writer.end();
    this.#end(turnNow());
    if (this.#response) this.#response.noteFinished(this.#writer.keepAlive);
    else this.#client.socket.destroySoon();
  }

  onClientClosed(): void {
    if (this.#hasEnded) return;
    this.#connection?.destroy();
    this.#leaveEndpoint();
    this.#status = this.#writer.isStarted ? this.#status : 0;
    this.#end(turnNow());
  }

  onUpstreamFailure(failure: UpstreamFailure, reason: string): void {
    if (this.#hasEnded) return;
    const now = turnNow();
    const isStale = failure === "closed" && !this.#hasSentBytes();
    if (!isStale && failure !== "connect" && !(failure === "timeout" && this.#waitsForClient()))
      this.#noteAnswer(false, now);
    this.#held = null;
    const endpoint = this.#leaveEndpoint() as Endpoint;
    if (failure === "connect") {
      this.#connectAttempts++;
      this.#target.service.metrics.ejections++;
      endpoint.eject(now);
    }
    if (failure === "timeout" && this.#waitsForClient()) {
      this.#fail({ status: 408, message: "The request's body stopped arriving." });
      return;
    }
    if (failure === "timeout" && !this.#writer.isStarted) endpoint.latency.observe(now - this.#sentAt, now);
    if (!isStale) this.#tried = [...this.#tried, endpoint];
    if (this.#tryAgain(failure, now)) return;
    this.#fail(replyFor(failure, this.#target.service, reason));
  }

  #waitsForClient(): boolean {
    return this.#body !== null && !this.#body.isComplete && !this.#body.waitsForService;
  }

  #hasSentBytes(): boolean {
    return this.#body?.hasSent ?? this.#hasSent;
  }

  #tryAgain(failure: UpstreamFailure, now: number): boolean {
    const { service } = this.#target;
    const bytesSent = this.#hasSentBytes();
    if (failure === "timeout" || failure === "malformed") return false;
    const method = this.#request.method as string;
    const [responseStarted, bodyKept, retries] = [this.#writer.isStarted, this.#body?.isKept ?? true, this.#retries];
    const decision = decideRetry({ method, bytesSent, responseStarted, bodyKept, retries }, service.policy);
    if (decision === "give-up") return false;
    if (decision === "reconnect" && this.#connectAttempts >= MAX_CONNECT_ATTEMPTS) return false;
    if (decision === "retry" && !service.budget.withdraw(now)) return false;
    if (service.balancer.pick(now, this.#tried) === null) {
      if (decision === "reconnect") return false;
      this.#tried = NONE_TRIED;
    }
    if (decision === "retry") {
      this.#retries++;
      service.metrics.retries++;
    } else {
      service.metrics.reconnects++;
    }
    this.#body?.detach();
    this.#attempt(now);
    return true;
  }

  #fail(reply: ErrorReply): void {
    if (this.#hasEnded) return;
    this.#connection?.destroy();
    this.#leaveEndpoint();
    const { socket } = this.#client;
    const isCut = this.#writer.isStarted;
    const keepAlive = !isCut && this.#keepsAlive() && !this.#continuing.isPending;
    if (!isCut) {
      this.#status = reply.status;
      const isHead = this.#request.method === "HEAD";
      const isHttp10 = this.#request.httpVersionMinor === 0;
      const { requestId } = this.#head;
      socket.write(renderErrorReply(reply, { requestId, keepAlive, isHead, isHttp10 }), "latin1");
    }
    this.#end(turnNow());
    if (isCut) socket.destroy();
    else if (this.#response) this.#response.noteFinished(keepAlive);
    else socket.destroySoon();
  }

  #upgrade(connection: UpstreamConnection, head: ResponseHead): void {
    const { socket } = this.#client;
    const endpoint = this.#endpoint as Endpoint;
    if (this.#response !== null || this.#head.upgrade === "") {
      this.#fail(replyFor("malformed", this.#target.service, "an upgrade nobody asked for"));
      return;
    }
    socket.write(switchingHead(head, this.#head.requestId), "latin1");
    [this.#endpoint, this.#connection, this.#isTunnel] = [null, null, true];
    this.#end(turnNow());
    const onEnd = () => {
      this.#passage?.end();
      this.#endpointLeft(endpoint);
    };
    new Tunnel({ client: this.#client, connection, onEnd }).open();
  }

  onTunnelData(): void {}
  onTunnelEnd(): void {}

  #leaveEndpoint(): Endpoint | null {
    const endpoint = this.#endpoint;
    this.#endpoint = null;
    this.#connection = null;
    if (endpoint !== null) this.#endpointLeft(endpoint);
    return endpoint;
  }

  #endpointLeft(endpoint: Endpoint): void {
    endpoint.inFlight--;
    this.#context.onEndpointLeft(endpoint);
  }

  #end(now: number): void {
    this.#hasEnded = true;
    if (!this.#isTunnel) this.#passage?.end();
    this.#continuing.end();
    if (this.#body !== null) this.#body.drop();
    this.#client.user = null;
    this.#client.idleSince = now;
    this.#target.service.inFlight--;
    this.#target.metrics.count(this.#status, now - this.#startedAt);
  }
}
