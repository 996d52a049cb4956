import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

/** What is asked for, by path. */
export interface StatusPages {
  /** Prometheus text exposition format 0.0.4. */
  metrics: () => string;
  /** How well it is; a program reads it. */
  health: () => object;
  /** What is served. */
  snapshot: () => object;
}

const IDLE_MS = 30_000;

/** Answers /metrics, /healthz and /snapshot, for programs on this machine only. */
export function createStatusServer(pages: StatusPages): Server {
  return createServer({ keepAliveTimeout: IDLE_MS, requestTimeout: IDLE_MS }, (request, response) =>
    answer(request, response, pages),
  );
}

interface Page {
  status: number;
  type: string;
  body: string;
}

function answer(request: IncomingMessage, response: ServerResponse, pages: StatusPages): void {
  request.resume();
  const { status, type, body } = pageFor(request, pages);
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function pageFor(request: IncomingMessage, pages: StatusPages): Page {
  // A page of the web whose name was made to lead here must not read it.
  if (!isLocalHost(request.headers.host)) return text(421, "Ask for localhost.");
  if (request.method !== "GET" && request.method !== "HEAD") return text(405, "Only GET is answered here.");
  switch (request.url?.split("?")[0]) {
    case "/metrics":
      return { status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body: pages.metrics() };
    case "/healthz":
      return json(pages.health());
    case "/snapshot":
      return json(pages.snapshot());
    default:
      return text(404, "There are /metrics, /healthz and /snapshot.");
  }
}

function isLocalHost(host: string | undefined): boolean {
  return host === undefined || /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i.test(host);
}

function json(content: object): Page {
  return { status: 200, type: "application/json", body: `${JSON.stringify(content)}\n` };
}

function text(status: number, body: string): Page {
  return { status, type: "text/plain", body: `${body}\n` };
}
