import type { IncomingHttpHeaders } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ProxyFixture, readBody } from "./proxy-fixture.ts";

let fixture: ProxyFixture;
beforeEach(() => {
  fixture = new ProxyFixture();
});
afterEach(() => fixture.close());

async function errorOf(response: Response) {
  return ((await response.json()) as { error: { code: string; message: string; request_id: string } }).error;
}

describe("the gateway", () => {
  it("passes method, path, query, fields and body on, and status, fields and body back", async () => {
    const service = await fixture.service(async (request, response) => {
      const body = await readBody(request);
      response.writeHead(201, "Made", { "content-type": "text/x", "x-own": ["a", "b"] });
      response.end(`${request.method} ${request.url} ${request.headers["x-in"]} ${body}`);
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    const response = await fetch(`http://127.0.0.1:${port}/a%20b?c=d&e`, {
      method: "POST",
      body: "hello",
      headers: { "x-in": "yes" },
    });
    expect([response.status, response.statusText]).toEqual([201, "Made"]);
    expect(response.headers.get("x-own")).toBe("a, b");
    expect(await response.text()).toBe("POST /a%20b?c=d&e yes hello");
  });

  it("selects the environment by host", async () => {
    const say = (text: string) => fixture.service((_, response) => response.end(text));
    const [one, two] = [await say("default"), await say("staging")];
    fixture.apply({ endpoints: [{ port: one }] }, { environment: "staging", endpoints: [{ id: "s", port: two }] });
    const port = await fixture.listen();
    const ask = async (host: string) => {
      const client = await fixture.rawClient(port);
      const text = `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
      client.socket.write(text);
      return (await client.closed()).split("\r\n\r\n")[1];
    };
    expect(await ask("staging.localhost:3000")).toBe("staging");
    expect(await ask("Staging.LOCALHOST")).toBe("staging");
    expect(await ask("localhost")).toBe("default");
    expect(await ask("example.org")).toBe("default");
    expect(await ask("other.localhost")).toContain('There is no environment \\"other\\"');
  });

  it("answers 404 for an unknown path, 405 with Allow for a method, 503 with Retry-After without replicas", async () => {
    fixture.apply({ endpoints: [], routes: [{ path: "/pay", methods: ["POST"] }] });
    const port = await fixture.listen();
    const missing = await fetch(`http://127.0.0.1:${port}/else`, { headers: { "x-request-id": "r-1" } });
    expect(missing.status).toBe(404);
    expect(await errorOf(missing)).toMatchObject({ code: "NOT_FOUND", request_id: "r-1" });
    const method = await fetch(`http://127.0.0.1:${port}/pay`);
    expect([method.status, method.headers.get("allow")]).toEqual([405, "POST"]);
    const nobody = await fetch(`http://127.0.0.1:${port}/pay`, { method: "POST", body: "x" });
    expect([nobody.status, nobody.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await errorOf(nobody)).toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining('"svc"') });
  });

  it("reads the body of a request that it refuses, and goes on with the next one", async () => {
    fixture.apply({ endpoints: [], routes: [] });
    const client = await fixture.rawClient(await fixture.listen());
    const head = "POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n";
    await client.exchange(head + "x".repeat(100_000), /HTTP\/1.1 404/);
    await client.exchange(`${"x".repeat(100_000)}PUT /next HTTP/1.1\r\nHost: h\r\n\r\n`, /404[\s\S]*HTTP\/1.1 404/);
  });

  it("passes more fields on than node:http counts by default", async () => {
    let count = 0;
    const service = await fixture.service(
      (request, response) => {
        count = request.rawHeaders.filter((name) => name === "a").length;
        response.end("ok");
      },
      (server) => {
        server.maxHeadersCount = 0;
      },
    );
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    await client.exchange(`GET / HTTP/1.1\r\n${"a:\r\n".repeat(2500)}Host: h\r\n\r\n`, /ok$/);
    expect(count).toBe(2500);
  });

  it("refuses paths that climb out of their route", async () => {
    const service = await fixture.service((request, response) => response.end(request.url));
    fixture.apply({ endpoints: [{ port: service }], routes: [{ path: "/files/*", methods: [] }] });
    const port = await fixture.listen();
    for (const path of ["/files/../secret", "/files/%2e%2E/secret", "/files/.", "/files/a/..", "/./files/a"]) {
      const client = await fixture.rawClient(port);
      await client.exchange(`GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`, /^HTTP\/1.1 400 .*"INVALID_ARGUMENT"/s);
    }
    const fine = await fetch(`http://127.0.0.1:${port}/files/..a/b.c?x=/../`);
    expect(await fine.text()).toBe("/files/..a/b.c?x=/../");
  });

  it("takes the absolute form, whose host counts", async () => {
    const service = await fixture.service((request, response) =>
      response.end(`${request.headers.host} ${request.url}`),
    );
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    await client.exchange("GET http://b.test/x?y HTTP/1.1\r\nHost: a\r\n\r\n", /\r\n\r\nb\.test \/x\?y$/);
  });

  it("keeps connections, and answers pipelined requests in order", async () => {
    let running = 0;
    const service = await fixture.service((request, response) => {
      running++;
      const wait = request.url === "/0" ? 50 : 0;
      setTimeout(() => response.end(`[${request.url} ${running--}]`), wait);
    });
    fixture.apply({ endpoints: [{ port: service }], routes: [0, 1, 2].map((n) => ({ path: `/${n}`, methods: [] })) });
    const client = await fixture.rawClient(await fixture.listen());
    const text = ["/0", "/1", "/none", "/2"].map((path) => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`).join("");
    const received = await client.exchange(text, /\[\/2 1\]/);
    expect(received.match(/\[.*?\]|HTTP\/1.1 404/g)).toEqual(["[/0 1]", "[/1 1]", "HTTP/1.1 404", "[/2 1]"]);
    expect(client.isClosed).toBe(false);
  });

  it("survives thousands of pipelined requests at once", async () => {
    const service = await fixture.service((_, response) => response.end("!"));
    fixture.apply({ endpoints: [{ port: service }], routes: [{ path: "/a", methods: [] }] });
    const client = await fixture.rawClient(await fixture.listen());
    const count = 3000;
    for (let i = 0; i < count; i++) client.socket.write(`GET /${i % 3 ? "none" : "a"} HTTP/1.1\r\nHost: h\r\n\r\n`);
    await client.exchange("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", /connection: close/);
    const received = await client.closed();
    expect(received.match(/HTTP\/1.1 404/g)).toHaveLength(2000);
    expect(received.match(/HTTP\/1.1 200/g)).toHaveLength(1001);
  });

  it("answers HTTP/1.0 without chunks, and keeps its connection only where that was asked for", async () => {
    const service = await fixture.service((request, response) => {
      if (request.url === "/known") response.setHeader("content-length", 2);
      response.end("ok");
      if (request.url !== "/known") response.write("");
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    const first = await fixture.rawClient(port);
    first.socket.write("GET /known HTTP/1.0\r\n\r\n");
    expect(await first.closed()).toMatch(/connection: close\r\n\r\nok$/);
    const second = await fixture.rawClient(port);
    await second.exchange("GET /known HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", /connection: keep-alive\r\n\r\nok$/);
  });

  it("turns an open-ended answer into chunks, and into a closed connection for HTTP/1.0", async () => {
    const service = await fixture.rawService((socket) => {
      socket.once("data", () => socket.end("HTTP/1.0 200 OK\r\n\r\nall of it"));
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    const modern = await fixture.rawClient(port);
    await modern.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n", /chunked\r\n\r\n9\r\nall of it\r\n0\r\n\r\n$/);
    const old = await fixture.rawClient(port);
    old.socket.write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(await old.closed()).toMatch(/connection: close\r\n\r\nall of it$/);
  });

  it("answers HEAD, 204 and 304 without a body, and goes on", async () => {
    const service = await fixture.service((request, response) => {
      if (request.url === "/head") response.writeHead(200, { "content-length": 1234 });
      else response.writeHead(Number(request.url?.slice(1)), { etag: '"x"' });
      response.end();
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    const ask = (method: string, path: string) => `${method} ${path} HTTP/1.1\r\nHost: h\r\n\r\n`;
    const text = ask("HEAD", "/head") + ask("GET", "/204") + ask("GET", "/304") + ask("HEAD", "/404");
    const received = await client.exchange(text, /HTTP\/1.1 404[\s\S]*\r\n\r\n$/);
    expect(received).toMatch(/^HTTP\/1.1 200 OK\r\ncontent-length: 1234\r\n[\s\S]*\r\n\r\nHTTP\/1.1 204/);
    expect(received.match(/HTTP\/1.1 \d+/g)).toHaveLength(4);
  });

  it("passes 100 and 103 on, and does not ask for a body that the service refuses", async () => {
    const port = await fixture.listen();
    const service = await fixture.service(
      async (request, response) => {
        response.writeEarlyHints({ link: "</a.css>; rel=preload" });
        response.end(await readBody(request));
      },
      (server) => {
        server.on("checkContinue", (request, response) => {
          if (request.url === "/no") response.writeHead(403).end();
          else {
            response.writeContinue();
            server.emit("request", request, response);
          }
        });
      },
    );
    fixture.apply({ endpoints: [{ port: service }] });
    const head = (path: string) =>
      `POST ${path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`;
    const willing = await fixture.rawClient(port);
    await willing.exchange(head("/yes"), /^HTTP\/1.1 100 Continue\r\n\r\n/);
    await willing.exchange(
      "hello",
      /HTTP\/1.1 103 Early Hints\r\nLink: <\/a.css>; rel=preload\r\n\r\nHTTP\/1.1 200 [\s\S]*hello/,
    );
    const refused = await fixture.rawClient(port);
    refused.socket.write(head("/no"));
    expect(await refused.closed()).toMatch(/^HTTP\/1.1 403 [\s\S]*connection: close/);
  });
});

describe("fields on the way", () => {
  async function seenBy(lines: string): Promise<{ seen: IncomingHttpHeaders; received: string }> {
    let seen: IncomingHttpHeaders = {};
    const service = await fixture.service((request, response) => {
      seen = request.headers;
      response.writeHead(200, {
        connection: "keep-alive, x-back",
        "x-back": "1",
        "proxy-authenticate": "no",
        "x-request-id": "theirs",
      });
      response.end("done");
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    const received = await client.exchange(`GET / HTTP/1.1\r\nHost: shop.test:80\r\n${lines}\r\n`, /done/);
    return { seen, received };
  }

  it("drops what belongs to one hop, both ways", async () => {
    const { seen, received } = await seenBy(
      "Connection: close, X-Secret, x-other\r\nX-Secret: 1\r\nX-Other: 2\r\nX-Stays: 3\r\nKeep-Alive: timeout=5\r\n" +
        "TE: trailers\r\nTrailer: x\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nUpgrade: h2c\r\n",
    );
    const gone = [
      "x-secret",
      "x-other",
      "keep-alive",
      "te",
      "trailer",
      "proxy-connection",
      "proxy-authorization",
      "upgrade",
    ];
    for (const name of gone) expect(seen[name]).toBeUndefined();
    expect(seen["x-stays"]).toBe("3");
    expect(received).not.toMatch(/x-back|proxy-authenticate|keep-alive/i);
  });

  it("keeps Host, and says who asked for what and how", async () => {
    const { seen } = await seenBy(
      "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n",
    );
    expect(seen).toMatchObject({
      host: "shop.test:80",
      "x-forwarded-for": "10.0.0.1, 127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-host": "shop.test:80",
    });
  });

  it("keeps a sane request id and makes one otherwise, the same towards both sides", async () => {
    const kept = await seenBy("X-Request-ID: abc-123\r\n");
    expect(kept.seen["x-request-id"]).toBe("abc-123");
    expect(kept.received).toMatch(/x-request-id: abc-123\r\n/);
    expect(kept.received).not.toContain("theirs");
    const made = await seenBy('X-Request-ID: a "b" c\r\n');
    expect(made.seen["x-request-id"]).toMatch(/^[0-9a-f]{32}$/);
    expect(made.received).toContain(`x-request-id: ${made.seen["x-request-id"]}\r\n`);
  });

  it("continues a valid trace with a span of its own and starts one otherwise", async () => {
    const trace = "0af7651916cd43dd8448eb211c80319c";
    const { seen } = await seenBy(`traceparent: 00-${trace}-b7ad6b7169203331-00\r\nTraceState: a=1\r\n`);
    expect(seen.traceparent).toMatch(new RegExp(`^00-${trace}-[0-9a-f]{16}-00$`));
    expect(seen.traceparent).not.toContain("b7ad6b7169203331");
    expect(seen.tracestate).toBe("a=1");
    for (const invalid of [`00-${"0".repeat(32)}-b7ad6b7169203331-01`, `ff-${trace}-b7ad6b7169203331-01`, "x"]) {
      const fresh = (await seenBy(`traceparent: ${invalid}\r\ntracestate: a=1\r\n`)).seen;
      expect(fresh.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
      expect(fresh.tracestate).toBeUndefined();
    }
  });

  it("keeps what the first proxy said of the origin inside the mesh", async () => {
    let seen: IncomingHttpHeaders = {};
    const service = await fixture.service((request, response) => {
      seen = request.headers;
      response.end();
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen(fixture.engine.serviceHandler("default", "svc"));
    await fetch(`http://127.0.0.1:${port}/any/path`, {
      headers: { "x-forwarded-proto": "https", "x-forwarded-host": "shop.example" },
    });
    expect(seen).toMatchObject({ "x-forwarded-proto": "https", "x-forwarded-host": "shop.example" });
  });
});
