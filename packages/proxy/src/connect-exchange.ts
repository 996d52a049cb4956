import type { ClientConnection, ClientUser } from "./client-connection.ts";
import { type Assignment, pickEndpoint } from "./division.ts";
import type { Endpoint } from "./endpoint.ts";
import type { EngineContext } from "./engine-context.ts";
import { renderErrorReply } from "./error-reply.ts";
import { MAX_CONNECT_ATTEMPTS } from "./retry-policy.ts";
import { Outcome, outcomeOf } from "./revision-counts.ts";
import type { RouteTarget } from "./service.ts";
import { Tunnel } from "./tunnel.ts";
import type { UpstreamConnection, UpstreamUser } from "./upstream-connection.ts";

/** A CONNECT request on its way. */
export interface ConnectInput {
  context: EngineContext;
  client: ClientConnection;
  target: RouteTarget;
  /** Which side of its service's split it belongs to; null: there is none. */
  assignment: Assignment | null;
  requestId: string;
}

/** Opens a tunnel for CONNECT; endpoints that cannot be reached are passed over, nothing else is tried again. */
export class ConnectExchange implements UpstreamUser, ClientUser {
  readonly #context: EngineContext;
  readonly #client: ClientConnection;
  readonly #target: RouteTarget;
  readonly #assignment: Assignment | null;
  readonly #requestId: string;
  readonly #startedAt = performance.now();
  #tried: Endpoint[] = [];
  #endpoint: Endpoint | null = null;
  #connection: UpstreamConnection | null = null;

  constructor(input: ConnectInput) {
    this.#context = input.context;
    this.#client = input.client;
    this.#target = input.target;
    this.#assignment = input.assignment;
    this.#requestId = input.requestId;
  }

  /** Begins; the client's connection is its own until it ends. */
  begin(): void {
    this.#client.user = this;
    this.#target.service.load.begin(this.#startedAt);
    this.#attempt();
  }

  #attempt(): void {
    const { service } = this.#target;
    const now = performance.now();
    const seeker = { target: this.#target, assignment: this.#assignment };
    const endpoint = this.#tried.length < MAX_CONNECT_ATTEMPTS ? pickEndpoint(seeker, now, this.#tried) : null;
    if (endpoint === null) {
      this.#fail(`No replica of "${service.name}" accepts connections; try again in a second.`);
      return;
    }
    endpoint.inFlight++;
    endpoint.beginTrial(now);
    this.#endpoint = endpoint;
    this.#connection = endpoint.connect(this);
    this.#connection.deadlineAt = now + service.policy.connectTimeoutMs;
  }

  onUpstreamConnected(): void {
    const connection = this.#connection as UpstreamConnection;
    const endpoint = this.#endpoint as Endpoint;
    endpoint.noteReached();
    this.#client.socket.write(
      `HTTP/1.1 200 Connection Established\r\nx-request-id: ${this.#requestId}\r\n\r\n`,
      "latin1",
    );
    this.#end(200);
    endpoint.counts.countEnd(outcomeOf(101));
    const onEnd = () => {
      this.#target.service.load.end(performance.now());
      this.#left(endpoint);
    };
    new Tunnel({ client: this.#client, connection, onEnd }).open();
  }

  onUpstreamFailure(): void {
    const endpoint = this.#endpoint as Endpoint;
    this.#left(endpoint);
    endpoint.counts.countEnd(Outcome.BROKEN);
    endpoint.eject(performance.now());
    this.#target.service.metrics.ejections++;
    this.#tried.push(endpoint);
    this.#attempt();
  }

  onClientClosed(): void {
    this.#connection?.destroy();
    if (this.#endpoint) {
      this.#left(this.#endpoint);
      this.#endpoint.counts.countEnd(Outcome.CANCELLED);
    }
    this.#target.service.load.end(performance.now());
    this.#end(0);
  }

  #left(endpoint: Endpoint): void {
    endpoint.inFlight--;
    this.#context.onEndpointLeft(endpoint);
  }

  #fail(message: string): void {
    const { socket } = this.#client;
    const reply = { status: 503, message, fields: "retry-after: 1\r\n" };
    socket.write(renderErrorReply(reply, { requestId: this.#requestId, keepAlive: false, isHead: false }), "latin1");
    this.#target.service.load.end(performance.now());
    this.#end(503);
    socket.destroySoon();
  }

  #end(status: number): void {
    this.#client.user = null;
    this.#target.metrics.count(status, performance.now() - this.#startedAt);
  }

  // Nothing of these happens before the tunnel stands.
  onClientDrain(): void {}
  onUpstreamDrain(): void {}
  onReadEnd(): void {}
  onInformational(): void {}
  onResponseHead(): void {}
  onResponseBody(): void {}
  onResponseEnd(): void {}
  onTunnelData(): void {}
  onTunnelEnd(): void {}
}
