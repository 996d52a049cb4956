import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import {
  type AuditEvent,
  anonymous,
  type CallContext,
  componentPrincipal,
  HmsError,
  implement,
  Kernel,
  type KernelOptions,
} from "@hms/kernel";
import { Edge, type EdgeOptions } from "../edge.ts";
import { createEdgeServer, type EdgeServerOptions } from "../edge-server.ts";
import { libraryService } from "./library-contract.ts";

/** The token that may do everything. */
export const TOKEN = "a-good-token";

type Handler = (request: never, context: CallContext) => unknown;
type Fields = Record<string, unknown>;

/** What the test's library does; every handler can be replaced. */
const handlers: Record<string, Handler> = {
  getBook: ({ name }: Fields) => ({ name, title: `The book ${name}` }),
  createBook: ({ shelf, book, bookId }: Fields) => ({ ...(book as Fields), name: `${shelf}/books/${bookId}` }),
  updateBook: ({ book, updateMask }: Fields) => ({
    ...(book as Fields),
    authors: (updateMask as { paths: string[] } | undefined)?.paths ?? [],
  }),
  returnBook: ({ name }: Fields) => ({ name, title: "back" }),
  searchBooks: (asked: Fields) => ({ asked, titles: asked.query === "" ? [] : ["one", "two"] }),
  count: () => ({ count: 9_007_199_254_740_993n }),
  everything: (kinds: Fields) => kinds,
  getCover: () => ({ contentType: "image/png", data: new Uint8Array([137, 80, 78, 71]) }),
  putCover: ({ name, cover }: Fields) => {
    const { contentType, data } = cover as { contentType: string; data: Uint8Array };
    return { count: BigInt(data.length), note: `${name} ${contentType}` };
  },
  async upload(chunks: AsyncIterable<{ data: Uint8Array; contentType: string }>) {
    let count = 0;
    let note = "";
    for await (const { data, contentType } of chunks) {
      count += data.length;
      note = contentType;
    }
    return { count: BigInt(count), note };
  },
  async *download() {
    for (const word of ["once ", "upon ", "a time"]) yield { contentType: "text/plain", data: Buffer.from(word) };
  },
  async *watchBooks({ count, failAfter, bytesEach }: { count: number; failAfter: number; bytesEach: number }) {
    for (let n = 1; count === 0 || n <= count; n += 1) {
      if (failAfter > 0 && n > failAfter) {
        throw new HmsError("UNAVAILABLE", "The shelf fell over.", { reason: "FELL", retryAfterMs: 1500 });
      }
      yield { name: `books/${n}`, title: "x".repeat(bytesEach) };
    }
  },
  async importBooks(books: AsyncIterable<{ title: string }>) {
    const titles: string[] = [];
    for await (const { title } of books) titles.push(title);
    return { count: BigInt(titles.length), note: titles.join(",") };
  },
  async *chat(books: AsyncIterable<{ title: string }>) {
    for await (const { title } of books) yield { title: title.toUpperCase() };
  },
};

/** A kernel with a library behind an edge on a port of its own. */
export interface EdgeFixture extends AsyncDisposable {
  readonly edge: Edge;
  readonly kernel: Kernel;
  readonly server: Server;
  readonly port: number;
  readonly events: AuditEvent[];
  /** Fetches a path, with the good token unless the headers say otherwise; a null authorization is none. */
  fetch(
    path: string,
    init?: Omit<RequestInit, "headers"> & { headers?: Record<string, string | null> },
  ): Promise<Response>;
  /** Fetches JSON: a body becomes the request's, and the answer is parsed. */
  json(method: string, path: string, body?: unknown): Promise<{ status: number; headers: Headers; body: never }>;
}

/** What a test changes. */
export interface EdgeFixtureOptions {
  handlers?: Record<string, Handler>;
  edge?: EdgeOptions;
  server?: EdgeServerOptions;
  kernel?: Partial<KernelOptions>;
}

/** Starts one. */
export async function edgeFixture(options: EdgeFixtureOptions = {}): Promise<EdgeFixture> {
  const events: AuditEvent[] = [];
  const kernel = new Kernel({
    identity: {
      authenticate: ({ token }) => {
        if (token === undefined) return anonymous;
        if (token === TOKEN) return componentPrincipal("test");
        throw new HmsError("UNAUTHENTICATED", "The token is not known here.");
      },
    },
    policy: {
      decide: ({ principal }) =>
        principal.kind === "anonymous" ? { allowed: false, reason: "nobody known" } : { allowed: true },
    },
    audit: { accepts: true, record: (event) => events.push(event) },
    ...options.kernel,
  });
  kernel.register(implement(libraryService("LibraryService"), { ...handlers, ...options.handlers } as never));
  const edge = new Edge(kernel, options.edge);
  const server = createEdgeServer(edge, options.server).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const fixture: Omit<EdgeFixture, "json"> = {
    edge,
    kernel,
    server,
    port,
    events,
    fetch: (path, { headers = {}, ...init } = {}) => {
      const all = Object.entries({ authorization: `Bearer ${TOKEN}`, ...headers });
      const given = all.filter((entry): entry is [string, string] => entry[1] !== null);
      return fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers: given });
    },
    async [Symbol.asyncDispose]() {
      edge[Symbol.dispose]();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return { ...fixture, json: (method, path, body) => fetchJson(fixture, { method, path, body }) };
}

async function fetchJson(
  fixture: Pick<EdgeFixture, "fetch">,
  { method, path, body }: { method: string; path: string; body: unknown },
) {
  const sent =
    body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  const response = await fixture.fetch(path, { method, ...sent });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: (text === "" ? undefined : JSON.parse(text)) as never,
  };
}
