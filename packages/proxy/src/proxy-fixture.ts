import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from "node:net";
import { createProxyEngine } from "./engine.ts";
import type { ProxyEngine, ProxyEngineOptions, ProxyHandler } from "./proxy-engine.ts";
import {
  DEFAULT_TRAFFIC_POLICY,
  type EndpointEntry,
  type RouteEntry,
  type ServiceEntry,
  type TrafficPolicy,
} from "./routing-table.ts";
import type { SplitTerms } from "./split-terms.ts";

/** What a test needs of a service. */
export interface ServiceInput {
  environment?: string;
  name?: string;
  endpoints: readonly (Partial<EndpointEntry> & { port: number })[];
  expectsReplicas?: boolean;
  routes?: readonly RouteEntry[];
  policy?: Partial<TrafficPolicy>;
  split?: Partial<SplitTerms> & { revision: number };
  isObserved?: boolean;
}

/** Real servers and an engine for one test; `close` ends all of them. */
export class ProxyFixture {
  readonly engine: ProxyEngine;
  readonly #servers: Server[] = [];
  readonly #closers: (() => void)[] = [];

  constructor(options: ProxyEngineOptions = {}) {
    this.engine = createProxyEngine(options);
  }

  /** Puts services in force; endpoints are "a", "b", … and active by default, the default route is everything. */
  apply(...services: ServiceInput[]): void {
    const environments = [...new Set(services.map(({ environment = "default" }) => environment))];
    this.engine.apply({ environments: environments.map((name) => ({ name })), services: services.map(serviceEntry) });
  }

  /** Listens with the engine; answers with the port. */
  async listen(handler: ProxyHandler = this.engine.gatewayHandler): Promise<number> {
    return listening(this.engine.createServer(handler));
  }

  /** A service program of node:http; answers with the port. */
  async service(listener: RequestListener, configure: (server: Server) => void = () => {}): Promise<number> {
    const server = createServer({ keepAliveTimeout: 60_000 }, listener);
    configure(server);
    this.#servers.push(server);
    return listening(server);
  }

  /** A program that speaks whatever it likes on its connections; answers with the port. */
  async rawService(onConnection: (socket: Socket) => void): Promise<number> {
    const sockets = new Set<Socket>();
    const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      onConnection(socket);
    });
    this.#closers.push(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    return listening(server);
  }

  /** A connection of a client that writes its bytes itself. */
  async rawClient(port: number): Promise<RawClient> {
    const client = new RawClient(connect(port, "127.0.0.1"));
    this.#closers.push(() => client.socket.destroy());
    await once(client.socket, "connect");
    return client;
  }

  /** Has something of the test's own ended with the rest. */
  onClose(close: () => void): void {
    this.#closers.push(close);
  }

  /** Ends everything. */
  async close(): Promise<void> {
    for (const close of this.#closers) close();
    for (const server of this.#servers) {
      server.closeAllConnections();
      server.close();
    }
    await this.engine.close({ graceMs: 0 });
  }
}

function serviceEntry(input: ServiceInput): ServiceEntry {
  const { environment = "default", name = "svc", endpoints, routes = [{ path: "/*", methods: [] }], policy } = input;
  const split = input.split ? { split: { share: 0, matches: [], sticky: null, ...input.split } } : {};
  return {
    ...split,
    isObserved: input.isObserved ?? false,
    expectsReplicas: input.expectsReplicas ?? false,
    environment,
    name,
    routes,
    policy: { ...DEFAULT_TRAFFIC_POLICY, ...policy },
    endpoints: endpoints.map((endpoint, position) => ({
      id: "abcdefgh".charAt(position),
      host: "127.0.0.1",
      state: "active" as const,
      weight: 1000,
      revision: 1,
      ...endpoint,
    })),
  };
}

async function listening(server: { listen(port: number, host: string): unknown; address(): unknown }): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server as never, "listening");
  return (server.address() as AddressInfo).port;
}

/** A client that writes bytes and keeps what comes back. */
export class RawClient {
  readonly socket: Socket;
  /** All that has come so far. */
  received = "";
  isClosed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => {
      this.received += text;
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.isClosed = true;
    });
  }

  /** Writes bytes and waits until what came back fits. */
  async exchange(text: string, pattern: RegExp): Promise<string> {
    this.socket.write(text, "latin1");
    await until(
      () => pattern.test(this.received),
      () => `${pattern} in ${JSON.stringify(this.received)}`,
    );
    return this.received;
  }

  /** Waits until the other side has closed. */
  async closed(): Promise<string> {
    await until(
      () => this.isClosed,
      () => `the end after ${JSON.stringify(this.received)}`,
    );
    return this.received;
  }
}

const DEADLINE_MS = 10_000;

/** Waits for a condition; fails, naming it, after ten seconds. */
export async function until(condition: () => boolean, name: () => string = () => String(condition)): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${name()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Reads a request's body to its end. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** A port on which nothing listens. */
export async function deadPort(): Promise<number> {
  const server = createTcpServer();
  const port = await listening(server);
  server.close();
  await once(server, "close");
  return port;
}
