import type { ClientConnection, ClientUser } from "./client-connection.ts";
import type { ProxyRequest, ProxyResponse } from "./client-messages.ts";
import type { Endpoint } from "./endpoint.ts";
import type { EngineContext } from "./engine-context.ts";
import { absenceReply, type ErrorReply, failureReply, renderErrorReply } from "./error-reply.ts";
import { atTurnEnd, type TurnMember, turnNow } from "./event-turn.ts";
import type { Passage } from "./passage.ts";
import { RequestBody } from "./request-body.ts";
import type { RequestHead } from "./request-head.ts";
import type { ResponseHead } from "./response-head.ts";
import { ResponseWriter } from "./response-writer.ts";
import { decideRetry, MAX_CONNECT_ATTEMPTS } from "./retry-policy.ts";
import type { RouteTarget } from "./service.ts";
import { Tunnel } from "./tunnel.ts";
import type { UpstreamConnection, UpstreamFailure, UpstreamUser } from "./upstream-connection.ts";
import type { Guest } from "./waiting-room.ts";

/** One request on its way. */
export interface ExchangeInput {
  context: EngineContext;
  client: ClientConnection;
  request: ProxyRequest;
  /** null: the socket is no longer node:http's, because the client asked for an upgrade. */
  response: ProxyResponse | null;
  target: RouteTarget;
  /** The head for the service. */
  forwardedHead: string;
  /** What happens to the answer on its way; null: nothing. */
  passage: Passage | null;
}

const NONE_TRIED: readonly Endpoint[] = Object.freeze([]);
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";
/** A client that expects 100 gets it from us if the service says nothing for this long. */
const CONTINUE_AFTER_MS = 1_000;

/** Carries one request to an endpoint and its response back; tries again where that does no harm. */
export class Exchange implements UpstreamUser, ClientUser, TurnMember, Guest {
  readonly #context: EngineContext;
  readonly #client: ClientConnection;
  readonly #request: ProxyRequest;
  readonly #response: ProxyResponse | null;
  readonly #target: RouteTarget;
  readonly #forwardedHead: string;
  readonly #passage: Passage | null;
  readonly #head: RequestHead;
  readonly #writer: ResponseWriter;
  readonly #startedAt = turnNow();
  #body: RequestBody | null = null;
  #endpoint: Endpoint | null = null;
  #connection: UpstreamConnection | null = null;
  #tried: readonly Endpoint[] = NONE_TRIED;
  #continueTimer: NodeJS.Timeout | null = null;
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
    this.#head = input.request.head;
    this.#writer = new ResponseWriter(input.client.socket);
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
    this.#body = new RequestBody(this.#request, this, { contentLength, maxBytes: this.#maxBodyBytes });
    if (this.#head.expectsContinue) this.#continueTimer = setTimeout(() => this.#continue(), CONTINUE_AFTER_MS);
    else this.#body.start();
  }

  get #maxBodyBytes(): number {
    return Math.min(this.#passage?.maxBodyBytes ?? Number.POSITIVE_INFINITY, this.#context.maxRequestBodyBytes);
  }

  #attempt(now: number): void {
    const endpoint = this.#target.service.balancer.pick(now, this.#tried);
    if (endpoint === null) {
      if (!this.#waits(now)) this.giveUp();
      return;
    }
    if (endpoint.ejectedUntil > now && endpoint.idleConnections === 0 && this.#waits(now)) return;
    endpoint.inFlight++;
    endpoint.beginTrial(now);
    this.#endpoint = endpoint;
    this.#hasSent = false;
    this.#isSending = false;
    const pooled = endpoint.takeIdle(this, now);
    this.#connection = pooled ?? endpoint.connect(this);
    if (pooled === null) this.#connection.deadlineAt = now + this.#target.service.policy.connectTimeoutMs;
    else this.#sendAtTurnEnd();
  }

  /** True if the request waits for a replica from now on. */
  #waits(now: number): boolean {
    const { service } = this.#target;
    if (!service.expectsReplicas || !service.waitingRoom.enter(this, now)) return false;
    this.#tried = NONE_TRIED;
    this.#connectAttempts = 0;
    return true;
  }

  tryAgain(now: number): void {
    const { balancer, waitingRoom } = this.#target.service;
    const endpoint = balancer.pick(now, NONE_TRIED);
    if (endpoint === null || endpoint.ejectedUntil > now) return;
    waitingRoom.leave(this);
    this.#attempt(now);
  }

  giveUp(): void {
    this.#fail(absenceReply(this.#target.service));
  }

  #sendAtTurnEnd(): void {
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
      connection.deadlineAt = now + this.#target.service.policy.requestTimeoutMs;
      connection.socket.write(this.#forwardedHead, "latin1");
      return;
    }
    connection.deadlineAt = now + this.#idleBodyTimeoutMs;
    this.#body.attach(connection, this.#forwardedHead, this.#head.expectsContinue);
  }

  #continue(): void {
    if (this.#continueTimer === null) return;
    clearTimeout(this.#continueTimer);
    this.#continueTimer = null;
    if (this.#hasEnded || this.#writer.isStarted) return;
    this.#client.socket.write(CONTINUE, "latin1");
    this.#body?.start();
  }

  onBodyProgress(): void {
    if (this.#connection) this.#connection.deadlineAt = turnNow() + this.#idleBodyTimeoutMs;
  }

  onBodySent(): void {
    this.#sentAt = turnNow();
    if (!this.#connection || this.#writer.isStarted) return;
    this.#connection.deadlineAt = this.#sentAt + this.#target.service.policy.requestTimeoutMs;
  }

  onBodyTooLarge(): void {
    const message = `The request's body is larger than ${this.#maxBodyBytes} bytes.`;
    this.#fail({ status: 413, message });
  }

  onUpstreamConnected(): void {
    this.#endpoint?.noteReached();
    this.#target.service.waitingRoom.endAbsence();
    this.#sendAtTurnEnd();
  }

  onUpstreamDrain(): void {
    this.#body?.onDrain();
  }

  onInformational(head: ResponseHead): void {
    if (head.status === 100) this.#continue();
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
    connection.deadlineAt = now + this.#idleBodyTimeoutMs;
    this.#passage?.onHead(head);
    this.#writer.start(head, {
      requestId: this.#head.requestId,
      isHead: this.#request.method === "HEAD",
      isHttp10: this.#request.httpVersionMinor === 0,
      keepAlive: this.#keepsAlive() && this.#continueTimer === null,
    });
  }

  get #idleBodyTimeoutMs(): number {
    return this.#target.service.policy.idleBodyTimeoutMs ?? this.#context.idleBodyTimeoutMs;
  }

  #keepsAlive(): boolean {
    return this.#response?.shouldKeepAlive === true && !this.#context.isClosing;
  }

  onResponseBody(bytes: Buffer, start: number, end: number): void {
    this.#passage?.onBody(bytes, start, end);
    this.#writer.body(bytes, start, end);
  }

  onReadEnd(): void {
    // What ends the response is written with it, at the end of the turn.
    if (this.#connection === null || !this.#writer.isStarted) return;
    if (!this.#writer.flush()) this.#connection.pause();
    this.#connection.deadlineAt = turnNow() + this.#idleBodyTimeoutMs;
  }

  onClientDrain(): void {
    this.#connection?.resume();
  }

  onResponseEnd(): void {
    const connection = this.#connection as UpstreamConnection;
    const endpoint = this.#leaveEndpoint();
    if (this.#body !== null && !this.#body.isComplete) connection.destroy();
    else endpoint?.giveBack(connection, turnNow());
    this.#passage?.onComplete(turnNow());
    this.#isAnswered = true;
    atTurnEnd(this);
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
    if (this.#retry(failure, now)) return;
    if (failure === "connect" && this.#waits(now)) this.#body?.detach();
    else this.#fail(failureReply(failure, this.#target.service, reason));
  }

  #waitsForClient(): boolean {
    return this.#body !== null && !this.#body.isComplete && !this.#body.waitsForService;
  }

  #hasSentBytes(): boolean {
    return this.#body?.hasSent ?? this.#hasSent;
  }

  #retry(failure: UpstreamFailure, now: number): boolean {
    const { service } = this.#target;
    const bytesSent = this.#hasSentBytes();
    if (failure === "timeout" || failure === "malformed" || failure === "silent") return false;
    const decision = decideRetry(
      {
        method: this.#request.method as string,
        bytesSent,
        responseStarted: this.#writer.isStarted,
        bodyKept: this.#body?.isKept ?? true,
        retries: this.#retries,
      },
      service.policy,
    );
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
    const keepAlive = !isCut && this.#keepsAlive() && this.#continueTimer === null;
    if (!isCut) {
      this.#status = reply.status;
      const { method, httpVersionMinor } = this.#request;
      const how = { keepAlive, isHead: method === "HEAD", isHttp10: httpVersionMinor === 0 };
      socket.write(renderErrorReply(reply, { requestId: this.#head.requestId, ...how }), "latin1");
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
      this.#fail(failureReply("malformed", this.#target.service, "an upgrade nobody asked for"));
      return;
    }
    const requestId = `x-request-id: ${this.#head.requestId}\r\n`;
    const fields = `${head.lines}${requestId}connection: upgrade\r\nupgrade: ${head.upgrade}\r\n`;
    socket.write(`HTTP/1.1 ${head.statusText}\r\n${fields}\r\n`, "latin1");
    this.#connection = this.#endpoint = null;
    this.#isTunnel = true;
    this.#end(turnNow());
    const onEnd = () => {
      this.#passage?.end();
      this.#endpointLeft(endpoint);
    };
    new Tunnel({ client: this.#client, connection, onEnd }).open();
  }

  // Bytes after a 101 go to the tunnel.
  onTunnelData(): void {}
  onTunnelEnd(): void {}

  #leaveEndpoint(): Endpoint | null {
    const endpoint = this.#endpoint;
    this.#connection = this.#endpoint = null;
    if (endpoint !== null) this.#endpointLeft(endpoint);
    return endpoint;
  }

  #endpointLeft(endpoint: Endpoint): void {
    endpoint.inFlight--;
    this.#context.onEndpointLeft(endpoint);
  }

  #end(now: number): void {
    this.#hasEnded = true;
    if (this.#endpoint === null) this.#target.service.waitingRoom.leave(this);
    if (!this.#isTunnel) this.#passage?.end();
    if (this.#continueTimer !== null) clearTimeout(this.#continueTimer);
    if (this.#body !== null) this.#body.drop();
    this.#client.user = null;
    this.#client.idleSince = now;
    this.#target.service.inFlight--;
    this.#target.metrics.count(this.#status, now - this.#startedAt);
  }
}
