import { createServer, type Server, type ServerOptions } from "node:http";
import type { Server as TlsServer } from "node:https";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { CertificateSet, type SecureTerms } from "./certificate-set.ts";
import { CertifiedClients } from "./certified-clients.ts";
import { ClientConnection } from "./client-connection.ts";
import { ProxyRequest, ProxyResponse } from "./client-messages.ts";
import { ConnectExchange } from "./connect-exchange.ts";
import { assignmentOf } from "./division.ts";
import { Entrance, type EntranceContext } from "./entrance.ts";
import { type ErrorReply, renderErrorReply } from "./error-reply.ts";
import { Http2Frontend } from "./http2-frontend.ts";
import { type ParseError, speaksHttp2, takeFromHttp1 } from "./http2-takeover.ts";
import type { Resolution, Router } from "./request-routing.ts";
import { hstsField } from "./tls-redirect.ts";
import { randomHex } from "./trace-ids.ts";

/** What servers need of the engine beyond what exchanges need. */
export interface FrontendContext extends EntranceContext {
  readonly maxHeadBytes: number;
  readonly clients: Set<ClientConnection>;
  readonly http2: Set<Http2Frontend>;
  readonly clientIdleTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
  /** A request was answered without a service. */
  countRefusal(status: number): void;
}

const HEADERS_TIMEOUT_MS = 30_000;

type ServeConnection = (this: Server, socket: unknown) => void;

/** Stands between a server of node:http and the exchanges: checks requests, asks the router, refuses what goes nowhere. */
export class HttpFrontend {
  readonly server: Server;
  readonly #context: FrontendContext;
  readonly #router: Router;
  readonly #entrance: Entrance;
  readonly #serveConnection: ServeConnection;
  #http2: Http2Frontend | undefined;
  #certificates: CertificateSet | undefined;
  readonly #certified = new CertifiedClients();

  /** With certificates it speaks TLS, and nothing else. */
  constructor(context: FrontendContext, router: Router, tls?: SecureTerms) {
    this.#context = context;
    this.#router = router;
    this.#entrance = new Entrance(context, ({ request, response, client }, reply) => {
      if (response !== null) this.#refuse(request, response, reply);
      else this.#refuseRaw(client.socket, request.head.chooseRequestId(), reply);
    });
    const options = optionsOf(context);
    if (tls === undefined) {
      this.server = createServer(options);
    } else {
      this.#certificates = new CertificateSet(tls.certificates, tls.clientAuthorities);
      this.server = this.#createTlsServer(options, this.#certificates);
      this.#askClients(this.#certificates);
    }
    // Bytes are the limit; node:http would drop fields beyond a number of them without a word.
    this.server.maxHeadersCount = 0;
    [this.#serveConnection] = this.server.listeners(tls ? "secureConnection" : "connection") as [ServeConnection];
    this.#listen();
  }

  /**
   * Holds from the next connection on; those that stand go on, but for clients with a certificate if one of their
   * authorities is taken away. Raises INVALID_ARGUMENT, having changed nothing.
   */
  useCertificates(tls: SecureTerms): void {
    const set = new CertificateSet(tls.certificates, tls.clientAuthorities);
    (this.server as TlsServer).setSecureContext(set.terms);
    this.#certificates = set;
    this.#askClients(set);
  }

  /** Node reads this for each connection; whether what a client shows is good, routes that ask say. */
  #askClients({ clientAuthorities }: CertificateSet): void {
    this.#certified.believe(clientAuthorities);
    Object.assign(this.server, { requestCert: this.#certified.isAsking, rejectUnauthorized: false });
  }

  #createTlsServer(options: ServerOptions, { terms }: CertificateSet): TlsServer {
    return process.getBuiltinModule("node:https").createServer({
      ...options,
      ...terms,
      handshakeTimeout: this.#context.handshakeTimeoutMs,
      ALPNProtocols: this.#router.takesHttp2 ? ["h2", "http/1.1"] : ["http/1.1"],
      SNICallback: (name, done) => done(null, this.#certificates?.contextFor(name)),
    });
  }

  /** Serves a connection by HTTP/2. */
  #acceptHttp2(socket: Socket): void {
    this.#http2 ??= this.#openHttp2();
    this.#http2.accept(socket);
  }

  #openHttp2(): Http2Frontend {
    const { server } = this;
    const http2 = new Http2Frontend({
      serveHttp1: (socket) => {
        this.#note(socket as unknown as Socket);
        this.#serveConnection.call(server, socket);
      },
      serveNative: (stream, headers, client) => this.#router.takesHttp2?.(stream, headers, client) ?? false,
      maxHeadBytes: this.#context.maxHeadBytes,
      idleTimeoutMs: this.#context.clientIdleTimeoutMs,
    });
    this.#context.http2.add(http2);
    server.on("close", () => this.#context.http2.delete(http2));
    return http2;
  }

  #note(socket: Socket): void {
    const client = new ClientConnection(socket);
    this.#context.clients.add(client);
    socket.on("close", () => this.#context.clients.delete(client));
  }

  #listenForConnections(): void {
    const { server } = this;
    if (this.#certificates === undefined) {
      server.on("connection", (socket) => this.#note(socket));
      return;
    }
    server.removeAllListeners("secureConnection");
    server.on("secureConnection", (socket: TLSSocket) => {
      this.#certified.note(socket);
      if (socket.alpnProtocol === "h2") this.#acceptHttp2(socket);
      else {
        this.#note(socket);
        this.#serveConnection.call(server, socket);
      }
    });
  }

  #listen(): void {
    const { server } = this;
    this.#listenForConnections();
    server.on("request", (request, response) => this.#onRequest(request as ProxyRequest, response as never));
    server.on("checkContinue", (request, response) => this.#onRequest(request as ProxyRequest, response as never));
    server.on("checkExpectation", (request, response) =>
      this.#onExpectation(request as ProxyRequest, response as never),
    );
    server.on("upgrade", (request, socket, rest) => {
      if (rest.length > 0) socket.unshift(rest);
      this.#onUpgrade(request as ProxyRequest, socket as Socket);
    });
    server.on("connect", (request, socket, rest) => {
      if (rest.length > 0) socket.unshift(rest);
      this.#onConnect(request as ProxyRequest, socket as Socket);
    });
    server.on("clientError", (error, socket) => this.#onUnreadable(error, socket as Socket));
  }

  #onRequest(request: ProxyRequest, response: ProxyResponse): void {
    if (response.socket !== null) this.#serve(request, response);
    else response.awaitTurn(() => !request.socket.destroyed && this.#serve(request, response));
  }

  #onExpectation(request: ProxyRequest, response: ProxyResponse): void {
    const reply = { status: 417, message: 'Only the expectation "100-continue" can be met.' };
    if (response.socket !== null) this.#refuse(request, response, reply);
    else response.awaitTurn(() => !request.socket.destroyed && this.#refuse(request, response, reply));
  }

  #serve(request: ProxyRequest, response: ProxyResponse): void {
    request.head.upgrade = "";
    if (request.httpVersionMinor === 0) request.head.expectsContinue = false;
    const resolution = this.#resolve(request);
    if (resolution.target === null) {
      this.#refuse(request, response, resolution.refusal);
      return;
    }
    this.#entrance.admit({ request, response, resolution, client: ClientConnection.of(request.socket) });
  }

  #resolve(request: ProxyRequest): Resolution {
    const refusal = this.#findFault(request);
    if (refusal === null) return this.#router.resolve(request);
    return { target: null, refusal };
  }

  #findFault(request: ProxyRequest): ErrorReply | null {
    const { head } = request;
    if (head.hasManyHosts || (head.host === null && request.httpVersionMinor !== 0)) {
      return { status: 400, message: "A request has exactly one Host field." };
    }
    // RFC 9112 §6.1: whoever is that old knows no transfer codings, so somebody on the way has another view of the body.
    if (request.httpVersionMajor !== 1 || (request.httpVersionMinor === 0 && head.transferEncoding !== "")) {
      return { status: 400, message: "Only HTTP/1.1, and HTTP/1.0 without transfer codings, is understood." };
    }
    if (head.transferEncoding !== "" && head.transferEncoding !== "chunked") {
      return { status: 501, message: 'The only transfer coding that is understood is "chunked".' };
    }
    if (head.contentLength > this.#context.maxRequestBodyBytes) {
      return { status: 413, message: `The request's body is larger than ${this.#context.maxRequestBodyBytes} bytes.` };
    }
    return null;
  }

  #refuse(request: ProxyRequest, response: ProxyResponse, reply: ErrorReply): void {
    const { head, socket } = request;
    this.#context.countRefusal(reply.status);
    // A body that still comes is read and dropped, so that its sender gets to read the reply.
    const isReadable = reply.status !== 400 && reply.status !== 501 && !head.expectsContinue;
    const keepAlive = response.shouldKeepAlive && (isReadable || !head.hasBody) && !this.#context.isClosing;
    const isHead = request.method === "HEAD";
    const isHttp10 = request.httpVersionMinor === 0;
    const client = ClientConnection.of(socket);
    const { tls } = this.#context;
    const hsts = tls !== undefined && client.scheme === "https" ? hstsField(tls, head.host ?? "") : "";
    const how = { requestId: head.chooseRequestId(), keepAlive, isHead, isHttp10, hsts };
    socket.write(renderErrorReply(reply, how), "latin1");
    client.idleSince = performance.now();
    response.noteFinished(keepAlive);
  }

  #onUpgrade(request: ProxyRequest, socket: Socket): void {
    const client = this.#adopt(socket);
    const resolution = this.#resolve(request);
    if (resolution.target === null) {
      this.#refuseRaw(socket, request.head.chooseRequestId(), resolution.refusal);
      return;
    }
    this.#entrance.admit({ request, response: null, resolution, client });
  }

  #onConnect(request: ProxyRequest, socket: Socket): void {
    const client = this.#adopt(socket);
    const requestId = request.head.chooseRequestId();
    const target = this.#router.resolveConnect?.(request) ?? {
      status: 405,
      message: "CONNECT is for the proxy address only.",
    };
    if ("status" in target) {
      this.#refuseRaw(socket, requestId, target);
      return;
    }
    const assignment = assignmentOf({ target, request, client, trustsOrigin: true });
    new ConnectExchange({ context: this.#context, client, target, assignment, requestId }).begin();
  }

  // node:http lets go of the socket of an upgrade, with its error listener.
  #adopt(socket: Socket): ClientConnection {
    const client = ClientConnection.of(socket);
    socket.on("error", () => socket.destroy());
    return client;
  }

  #refuseRaw(socket: Socket, requestId: string, reply: ErrorReply): void {
    this.#context.countRefusal(reply.status);
    if (socket.writable) {
      socket.write(renderErrorReply(reply, { requestId, keepAlive: false, isHead: false }), "latin1");
    }
    socket.destroySoon();
  }

  #onUnreadable(error: ParseError, socket: Socket): void {
    // The handshake has failed or takes too long: an answer would wait for its end, and the connection for the answer's.
    if (!ClientConnection.isKnown(socket)) {
      socket.destroy();
      return;
    }
    if (this.#router.takesHttp2 && speaksHttp2(error)) {
      this.#context.clients.delete(ClientConnection.of(socket));
      takeFromHttp1(socket, error);
      this.#acceptHttp2(socket);
      return;
    }
    const isBusy = ClientConnection.of(socket).user !== null;
    if (isBusy || !socket.writable || error.code === "ECONNRESET") {
      socket.destroy();
      return;
    }
    this.#refuseRaw(socket, randomHex(32), faultOf(error.code));
  }
}

function optionsOf(context: FrontendContext): ServerOptions {
  const options: ServerOptions & { optimizeEmptyRequests: boolean } = {
    IncomingMessage: ProxyRequest as never,
    ServerResponse: ProxyResponse as never,
    maxHeaderSize: context.maxHeadBytes,
    // Host, bodies and idle connections are looked after here, with answers of our own.
    requireHostHeader: false,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: 0,
    keepAliveTimeout: 0,
    insecureHTTPParser: false,
    noDelay: true,
    optimizeEmptyRequests: true,
    shouldUpgradeCallback: (request) => isForwardedUpgrade(request as ProxyRequest),
  };
  return options;
}

// Upgrades to other versions of HTTP are ignored, as RFC 9110 §7.8 allows: the request is answered as it is.
function isForwardedUpgrade({ head }: ProxyRequest): boolean {
  if (head.upgrade === "" || head.hasBody) return false;
  return !/^(?:h2c?|tls\/|http\/)/i.test(head.upgrade);
}

function faultOf(code: string | undefined): ErrorReply {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return { status: 431, message: "The request's head is too large." };
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return { status: 413, message: "The request's chunk extensions are too large." };
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return { status: 408, message: "The request's head did not arrive in time." };
    default:
      return { status: 400, message: "This is not an HTTP/1.1 request that can be passed on safely." };
  }
}
