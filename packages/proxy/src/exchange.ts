import type { Readable } from "node:stream";
import type { ClientUser } from "./client-connection.ts";
import { ContinueWait } from "./continue-wait.ts";
import { pickEndpoint } from "./division.ts";
import { type Endpoint, isUnwell } from "./endpoint.ts";
import {
  absenceReply,
  breakerReply,
  type ErrorReply,
  failureReply,
  renderErrorReply,
  unchangedReply,
} from "./error-reply.ts";
import { atTurnEnd, type TurnMember, turnNow } from "./event-turn.ts";
import { type ExchangeInput, type ExchangeLimits, limitsOf, replyContextOf } from "./exchange-input.ts";
import type { HeldAnswer } from "./held-answer.ts";
import { nextAttempt } from "./next-attempt.ts";
import { RequestBody } from "./request-body.ts";
import type { ResponseHead } from "./response-head.ts";
import { ResponseWriter } from "./response-writer.ts";
import { Outcome, outcomeOf } from "./revision-counts.ts";
import { isSampled, keepSample } from "./sensors.ts";
import { switchingHead, Tunnel } from "./tunnel.ts";
import type { UpstreamConnection, UpstreamFailure, UpstreamUser } from "./upstream-connection.ts";
import type { Guest } from "./waiting-room.ts";

const NONE_TRIED: readonly Endpoint[] = Object.freeze([]);

/** Carries one request to an endpoint and its response back; tries again where that does no harm. */
export class Exchange implements UpstreamUser, ClientUser, TurnMember, Guest {
  readonly #input: ExchangeInput;
  readonly #source: Readable;
  readonly #limits: ExchangeLimits;
  readonly #writer: ResponseWriter;
  readonly #startedAt = turnNow();
  #body: RequestBody | null = null;
  #endpoint: Endpoint | null = null;
  /** The one that was tried last. */
  #lastEndpoint: Endpoint | null = null;
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
  /** Until the answer's head; 0: there is none. */
  #headMs = 0;

  constructor(input: ExchangeInput) {
    this.#input = input;
    this.#source = input.body ?? input.request;
    this.#limits = limitsOf(input);
    this.#writer = new ResponseWriter(input.client.socket);
    this.#continuing = new ContinueWait(input.client.socket, () => this.#body?.start());
  }

  /** Begins; the client's connection is its own until it ends. */
  begin(): void {
    this.#input.client.user = this;
    this.#input.target.service.noteBegin(this.#startedAt);
    if (this.#input.request.head.hasBody) this.#beginBody();
    this.#attempt(this.#startedAt);
  }

  #beginBody(): void {
    const { contentLength } = this.#input.request.head;
    this.#body = new RequestBody(this.#source, this, { contentLength, maxBytes: this.#limits.maxBodyBytes });
    if (this.#input.request.head.expectsContinue) this.#continuing.begin();
    else this.#body.start();
  }

  #attempt(now: number): void {
    const endpoint = pickEndpoint(this.#input, now, this.#tried);
    if (endpoint === null) {
      if (!this.#waits(now)) this.giveUp();
      return;
    }
    if (endpoint.isLeftAlone(now)) {
      this.#fail(breakerReply(this.#input.target.service, endpoint.ejectedUntil - now));
      return;
    }
    if (endpoint.ejectedUntil > now && endpoint.idleConnections === 0 && this.#waits(now)) return;
    endpoint.inFlight++;
    endpoint.beginTrial(now);
    this.#endpoint = this.#lastEndpoint = endpoint;
    this.#hasSent = this.#isSending = false;
    this.#status = 0;
    const pooled = endpoint.takeIdle(this, now);
    this.#connection = pooled ?? endpoint.connect(this);
    if (pooled === null) this.#connection.deadlineAt = now + this.#input.target.service.policy.connectTimeoutMs;
    else this.#sendSoon();
  }

  /** True if the request waits for a replica from now on. */
  #waits(now: number): boolean {
    const { service } = this.#input.target;
    if (!service.expectsReplicas || !service.waitingRoom.enter(this, now)) return false;
    this.#tried = NONE_TRIED;
    this.#connectAttempts = 0;
    return true;
  }

  tryAgain(now: number): void {
    const { balancer, waitingRoom } = this.#input.target.service;
    const endpoint = balancer.pick(now, NONE_TRIED);
    if (endpoint === null || endpoint.ejectedUntil > now) return;
    waitingRoom.leave(this);
    this.#attempt(now);
  }

  giveUp(): void {
    this.#fail(absenceReply(this.#input.target.service));
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
    connection.expectResponse(this.#input.request.method as string);
    this.#sentAt = now;
    if (this.#body === null) {
      this.#hasSent = true;
      connection.deadlineAt = now + this.#limits.requestTimeoutMs;
      connection.socket.write(this.#input.forwardedHead, "latin1");
      return;
    }
    connection.deadlineAt = now + this.#limits.idleBodyTimeoutMs;
    this.#body.attach(connection, this.#input.forwardedHead, this.#input.request.head.expectsContinue);
  }

  onBodyProgress(): void {
    if (this.#connection) this.#connection.deadlineAt = turnNow() + this.#limits.idleBodyTimeoutMs;
  }

  onBodySent(): void {
    this.#sentAt = turnNow();
    if (!this.#connection || this.#writer.isStarted) return;
    this.#connection.deadlineAt = this.#sentAt + this.#limits.requestTimeoutMs;
  }

  onBodyTooLarge(): void {
    const message = `The request's body is larger than ${this.#limits.maxBodyBytes} bytes.`;
    this.#fail({ status: 413, message });
  }

  onUpstreamConnected(): void {
    this.#endpoint?.noteReached();
    this.#input.target.service.waitingRoom.endAbsence();
    this.#sendSoon();
  }

  onUpstreamDrain(): void {
    this.#body?.onDrain();
  }

  onInformational(head: ResponseHead): void {
    if (head.status === 100) this.#continuing.grant();
    else if (this.#input.request.httpVersionMinor === 1) {
      this.#input.client.socket.write(`HTTP/1.1 ${head.statusText}\r\n${head.lines}\r\n`, "latin1");
    }
  }

  onResponseHead(head: ResponseHead): void {
    const now = turnNow();
    const connection = this.#connection as UpstreamConnection;
    this.#status = head.status;
    this.#headMs = now - this.#startedAt;
    this.#endpoint?.noteHead(now - this.#sentAt, now);
    if (head.status === 101) {
      this.#upgrade(connection, head);
      return;
    }
    this.#noteAnswer(!isUnwell(head.status), now);
    connection.deadlineAt = now + this.#limits.idleBodyTimeoutMs;
    this.#held = this.#input.passage?.hold(head, this.#input.request.method === "HEAD") ?? null;
    if (this.#held === null) this.#startAnswer(head);
  }

  #startAnswer(head: ResponseHead): void {
    this.#input.passage?.onHead(head);
    const isUnread = this.#continuing.isPending;
    this.#continuing.end();
    this.#writer.start(head, replyContextOf(this.#input, this.#keepsAlive() && !isUnread));
  }

  #noteAnswer(isGood: boolean, now: number): void {
    const { breaker } = this.#input.target.service.policy;
    const isOpened = breaker !== undefined && this.#endpoint?.noteAnswer(isGood, breaker, now) === true;
    if (isOpened) this.#input.target.service.metrics.ejections++;
  }

  #keepsAlive(): boolean {
    return this.#input.response?.shouldKeepAlive === true && !this.#input.context.isClosing;
  }

  onResponseBody(bytes: Buffer, start: number, end: number): void {
    if (this.#hasEnded) return;
    if (this.#held !== null) {
      if (!this.#held.take(bytes, start, end))
        this.#fail(unchangedReply(this.#input.target.service, "is too large for that"));
      return;
    }
    this.#input.passage?.onBody(bytes, start, end);
    this.#writer.body(bytes, start, end);
  }

  onReadEnd(): void {
    // What ends the response is written with it, at the end of the turn.
    if (this.#connection === null) return;
    if (this.#held !== null) this.#connection.deadlineAt = turnNow() + this.#limits.idleBodyTimeoutMs;
    if (!this.#writer.isStarted) return;
    if (!this.#writer.flush()) this.#connection.pause();
    this.#connection.deadlineAt = turnNow() + this.#limits.idleBodyTimeoutMs;
  }

  onClientDrain(): void {
    this.#connection?.resume();
  }

  onResponseEnd(): void {
    if (this.#hasEnded || !this.#releaseHeld()) return;
    const connection = this.#connection as UpstreamConnection;
    const endpoint = this.#leaveEndpoint(outcomeOf(this.#status));
    if (this.#body !== null && !this.#body.isComplete) connection.destroy();
    else endpoint?.giveBack(connection, turnNow());
    this.#input.passage?.onComplete(turnNow());
    this.#isAnswered = true;
    atTurnEnd(this);
  }

  /** Starts the answer that was held back; false: it could not be changed, and the client was told. */
  #releaseHeld(): boolean {
    const body = this.#held?.finish();
    this.#held = null;
    if (body === undefined) return true;
    if (typeof body === "string") {
      this.#fail(unchangedReply(this.#input.target.service, body));
      return false;
    }
    this.#startAnswer((this.#connection as UpstreamConnection).head);
    this.#input.passage?.onBody(body, 0, body.length);
    this.#writer.body(body, 0, body.length);
    return true;
  }

  #complete(): void {
    this.#writer.end();
    this.#end(turnNow());
    if (this.#input.response) this.#input.response.noteFinished(this.#writer.keepAlive);
    else this.#input.client.socket.destroySoon();
  }

  onClientClosed(): void {
    if (this.#hasEnded) return;
    this.#connection?.destroy();
    this.#status = this.#writer.isStarted ? this.#status : 0;
    this.#leaveEndpoint(outcomeOf(this.#status));
    this.#end(turnNow());
  }

  onUpstreamFailure(failure: UpstreamFailure, reason: string): void {
    if (this.#hasEnded) return;
    const now = turnNow();
    if (failure === "timeout" && this.#waitsForClient()) {
      this.#leaveEndpoint(Outcome.CANCELLED);
      this.#fail({ status: 408, message: "The request's body stopped arriving." });
      return;
    }
    const isStale = failure === "closed" && !this.#hasSentBytes();
    if (!isStale && failure !== "connect") this.#noteAnswer(false, now);
    this.#held = null;
    // What was sent to nobody was nobody's to answer.
    const endpoint = this.#leaveEndpoint(isStale ? null : Outcome.BROKEN) as Endpoint;
    if (failure === "connect") {
      this.#connectAttempts++;
      this.#input.target.service.metrics.ejections++;
      endpoint.eject(now);
    }
    if (failure === "timeout" && !this.#writer.isStarted) endpoint.latency.observe(now - this.#sentAt, now);
    if (!isStale) this.#tried = [...this.#tried, endpoint];
    if (this.#retry(failure, now)) return;
    if (failure === "connect" && this.#waits(now)) this.#body?.detach();
    else this.#fail(failureReply(failure, this.#input.target.service, reason));
  }

  #waitsForClient(): boolean {
    return this.#body !== null && !this.#body.isComplete && !this.#body.waitsForService;
  }

  #hasSentBytes(): boolean {
    return this.#body?.hasSent ?? this.#hasSent;
  }

  #retry(failure: UpstreamFailure, now: number): boolean {
    const [retries, connectAttempts] = [this.#retries, this.#connectAttempts];
    const [bytesSent, responseStarted] = [this.#hasSentBytes(), this.#writer.isStarted];
    const [method, bodyKept] = [this.#input.request.method as string, this.#body?.isKept ?? true];
    const attempt = { failure, method, bytesSent, responseStarted, bodyKept, retries, connectAttempts };
    const next = nextAttempt(this.#input, attempt, { now, passed: this.#tried });
    if (next === "give-up") return false;
    if (next === "retry-anywhere") this.#tried = NONE_TRIED;
    if (next !== "reconnect") this.#retries++;
    this.#body?.detach();
    this.#attempt(now);
    return true;
  }

  #fail(reply: ErrorReply): void {
    if (this.#hasEnded) return;
    this.#connection?.destroy();
    this.#leaveEndpoint(outcomeOf(this.#status));
    const { socket } = this.#input.client;
    const isCut = this.#writer.isStarted;
    const keepAlive = !isCut && this.#keepsAlive() && !this.#continuing.isPending;
    if (!isCut) {
      this.#status = reply.status;
      this.#headMs = turnNow() - this.#startedAt;
      socket.write(renderErrorReply(reply, replyContextOf(this.#input, keepAlive)), "latin1");
    }
    this.#end(turnNow());
    if (isCut) socket.destroy();
    else if (this.#input.response) this.#input.response.noteFinished(keepAlive);
    else socket.destroySoon();
  }

  #upgrade(connection: UpstreamConnection, head: ResponseHead): void {
    const { socket } = this.#input.client;
    const endpoint = this.#endpoint as Endpoint;
    if (this.#input.response !== null || this.#input.request.head.upgrade === "") {
      connection.destroy();
      this.#leaveEndpoint(Outcome.BROKEN);
      this.#fail(failureReply("malformed", this.#input.target.service, "an upgrade nobody asked for"));
      return;
    }
    socket.write(switchingHead(head, this.#input.request.head.requestId), "latin1");
    [this.#endpoint, this.#connection, this.#isTunnel] = [null, null, true];
    this.#end(turnNow());
    endpoint.counts.countEnd(outcomeOf(this.#status));
    const onEnd = () => {
      this.#input.passage?.end();
      this.#input.target.service.load.end(turnNow());
      this.#endpointLeft(endpoint);
    };
    new Tunnel({ client: this.#input.client, connection, onEnd }).open();
  }

  onTunnelData(): void {}
  onTunnelEnd(): void {}

  /** Ends an attempt; its outcome is counted, if it has one. */
  #leaveEndpoint(outcome: number | null): Endpoint | null {
    const endpoint = this.#endpoint;
    this.#connection = this.#endpoint = null;
    if (endpoint === null) return null;
    if (outcome !== null) endpoint.counts.countEnd(outcome);
    this.#endpointLeft(endpoint);
    return endpoint;
  }

  #endpointLeft(endpoint: Endpoint): void {
    endpoint.inFlight--;
    this.#input.context.onEndpointLeft(endpoint);
  }

  #end(now: number): void {
    this.#hasEnded = true;
    if (this.#endpoint === null) this.#input.target.service.waitingRoom.leave(this);
    if (!this.#isTunnel) {
      this.#input.passage?.end();
      this.#input.target.service.load.end(now);
    }
    this.#continuing.end();
    if (this.#body !== null) this.#body.drop();
    this.#input.client.user = null;
    this.#input.client.idleSince = now;
    this.#input.target.service.inFlight--;
    this.#input.target.metrics.count(this.#status, now - this.#startedAt);
    if (!isSampled(this.#input)) return;
    keepSample(this.#input, { endpoint: this.#lastEndpoint, status: this.#status, headMs: this.#headMs });
  }
}
