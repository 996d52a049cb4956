import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientRequest, createServer, type IncomingMessage, request, type Server } from "node:http";
import {
  connect as connectHttp2,
  createServer as createHttp2,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { request as requestSecure } from "node:https";
import type { AddressInfo } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { testAuthority } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ProxyFixture } from "./proxy-fixture.ts";

let folder = "";
let fixture: ProxyFixture;
let port = 0;
const servers: Server[] = [];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hms-edge-"));
  fixture = new ProxyFixture({ edgeSocket: join(folder, "edge.sock"), idleBodyTimeoutMs: 300 });
  const service = await fixture.service((request, response) =>
    response.end(`service ${request.headers.authorization}`),
  );
  fixture.apply({ endpoints: [{ port: service }], routes: [{ path: "/mine/*", methods: ["GET"] }] });
  port = await fixture.listen();
});
afterEach(async () => {
  await fixture.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true });
});

/** Starts the platform's edge. */
async function startEdge(
  listener: Parameters<typeof createServer>[1] = (request, response) => void response.end(`edge ${request.url}`),
) {
  const server = createServer(listener as never).listen(join(folder, "edge.sock"));
  servers.push(server);
  await once(server, "listening");
}

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(`http://127.0.0.1:${port}${path}`, { headers });
/** Starts the platform's edge as gRPC finds it. */
async function startGrpcEdge(answer: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void) {
  const server = createHttp2().on("stream", answer).listen(join(folder, "edge.sock"));
  fixture.onClose(() => void server.close());
  await once(server, "listening");
}

/** A call as gRPC makes it: by HTTP/2 from the first byte on. */
async function grpcCall(path: string, headers: Record<string, string> = token, message = "question") {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  fixture.onClose(() => session.destroy());
  const fields = {
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc+proto",
    te: "trailers",
    ...headers,
  };
  const stream = session.request(fields);
  let trailers: IncomingHttpHeaders = {};
  stream.on("trailers", (given) => {
    trailers = given;
  });
  if (message !== "") stream.end(message);
  const [head] = (await once(stream, "response")) as [IncomingHttpHeaders];
  let body = "";
  for await (const chunk of stream.setEncoding("utf8")) body += chunk;
  return { head, body, trailers };
}

const token = { authorization: "Bearer t" };

/** An address of this machine that other machines would use; what comes from there counts as theirs. */
const outside = Object.values(networkInterfaces())
  .flat()
  .find((one) => one?.family === "IPv4" && !one.internal)?.address;

async function statusOf(asking: ClientRequest): Promise<number | undefined> {
  const [response] = (await once(asking.end(), "response")) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}

describe("the platform's edge behind the gateway", () => {
  test("gets what no route takes, with credentials only", async () => {
    await startEdge();
    expect(await (await get("/v1/hms.x/Y?a=1", token)).text()).toBe("edge /v1/hms.x/Y?a=1");
    expect((await get("/v1/hms.x/Y")).status).toBe(404);
    expect((await get("/v1/hms.x/Y", { "x-authorization": "Bearer t", cookie: "t=1" })).status).toBe(404);
  });

  test("gets everything that may ask the platform's own host, and no service does", async () => {
    await startEdge();
    const secret = `hms-${"a2".repeat(13)}.localhost`;
    for (const host of ["hms.localhost", "HMS.localhost:3000", secret, `x.${secret.toUpperCase()}.:3000`]) {
      const answer = await new Promise<string>((resolve) => {
        request({ port, path: "/mine/x", headers: { host } }, (response) => {
          response.setEncoding("utf8").once("data", resolve);
        }).end();
      });
      expect(answer).toBe("edge /mine/x");
    }
  });

  test.skipIf(outside === undefined)(
    "answers other machines over TLS only, by HTTP/1.1 and HTTP/2, while services answer as everywhere",
    async () => {
      await startEdge();
      const server = fixture.engine.createServer(fixture.engine.gatewayHandler).listen(0, outside);
      await once(server, "listening");
      const { port: plain } = server.address() as AddressInfo;
      const { cert, key } = testAuthority().issue("DNS:hms.test");
      const terms = { certificates: [{ cert, key }], clientAuthorities: undefined };
      const secure = fixture.engine.createSecureServer(fixture.engine.gatewayHandler, terms).server.listen(0, outside);
      await once(secure, "listening");
      const { port: encrypted } = secure.address() as AddressInfo;
      const own = { host: `hms-${"a2".repeat(13)}.localhost` };
      for (const [path, headers] of [
        ["/mine/x", own] as const,
        ["/v1/hms.x/Y", token] as const,
        ["/docs", {}] as const,
      ]) {
        const asked = { host: outside, path, headers, agent: false };
        expect([path, await statusOf(request({ ...asked, port: plain }))]).toEqual([path, 403]);
        const overTls = requestSecure({ ...asked, port: encrypted, rejectUnauthorized: false });
        expect([path, await statusOf(overTls)]).toEqual([path, 200]);
      }
      expect(await statusOf(request({ host: outside, port: plain, path: "/mine/x", agent: false }))).toBe(200);
      const session = connectHttp2(`http://${outside}:${plain}`);
      fixture.onClose(() => session.destroy());
      for (const more of [own, token]) {
        const fields = {
          ":method": "POST",
          ":path": "/hms.x.v1.X/Y",
          "content-type": "application/grpc+proto",
          ...more,
        };
        const [head] = (await once(session.request(fields).end(), "response")) as [IncomingHttpHeaders];
        expect(head[":status"]).toBe(403);
      }
    },
  );

  test("gets nothing that a service has a route for", async () => {
    await startEdge();
    expect(await (await get("/mine/x", token)).text()).toBe("service Bearer t");
    const other = await fetch(`http://127.0.0.1:${port}/mine/x`, { method: "POST", headers: token });
    expect([other.status, other.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });

  test.each([
    ["/docs", 200],
    ["/docs/", 200],
    ["/docs/viewer.js", 200],
    ["/openapi.json", 200],
    ["/openapi/hms.x.json", 200],
    ["/docsx", 404],
    ["/openapi.jsonx", 404],
  ])("is asked for %s also by nobody known", async (path, status) => {
    await startEdge();
    expect((await get(path)).status).toBe(status);
  });

  test("is 503 while the server is away, with services untouched, and comes back", async () => {
    const away = await get("/v1/hms.x/Y", token);
    expect(away.status).toBe(503);
    expect(await away.json()).toMatchObject({
      error: { code: "UNAVAILABLE", message: expect.stringContaining("server is away") },
    });
    expect((await get("/mine/x")).status).toBe(200);
    await startEdge();
    expect(await (await get("/v1/hms.x/Y", token)).text()).toBe("edge /v1/hms.x/Y");
  });

  test("may say nothing for longer than a service may", async () => {
    await startEdge((_, response) => {
      response.write("first\n");
      setTimeout(() => response.end("last\n"), 1000);
    });
    expect(await (await get("/v1/watch", token)).text()).toBe("first\nlast\n");
  });

  test("takes calls of gRPC with their trailers, and says who asked for what", async () => {
    let seen: IncomingHttpHeaders = {};
    await startGrpcEdge(async (stream, headers) => {
      seen = headers;
      let question = "";
      for await (const chunk of stream.setEncoding("utf8")) question += chunk;
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "5", "grpc-message": "not here" }));
      stream.end(`answer to ${question}`);
    });
    const { head, body, trailers } = await grpcCall("/hms.x.v1.X/Y", {
      ...token,
      "x-forwarded-host": "evil",
      "x-hms-principal": "user:root",
    });
    expect([head[":status"], body, trailers["grpc-status"], trailers["grpc-message"]]).toEqual([
      200,
      "answer to question",
      "5",
      "not here",
    ]);
    expect(seen).toMatchObject({
      ...token,
      te: "trailers",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-host": `127.0.0.1:${port}`,
    });
    expect(seen["x-hms-principal"]).toBeUndefined();
    expect((await grpcCall("/hms.x.v1.X/Y", {})).head[":status"]).toBe(404);
    // A service has this path.
    expect((await grpcCall("/mine/x", { ...token, ":method": "GET" }, "")).body).toBe("service Bearer t");
  });

  test("is UNAVAILABLE for gRPC while the server is away, and cancelled calls end there, too", async () => {
    const away = await grpcCall("/hms.x.v1.X/Y");
    expect(away.head).toMatchObject({ "grpc-status": "14", "grpc-message": expect.stringContaining("server is away") });
    const reset = Promise.withResolvers<number>();
    await startGrpcEdge((stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.write("first");
      stream.on("error", () => {});
      stream.on("close", () => reset.resolve(stream.rstCode));
    });
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    const stream = session.request({
      ":method": "POST",
      ":path": "/hms.x.v1.X/Watch",
      "content-type": "application/grpc",
      ...token,
    });
    stream.on("error", () => {});
    await once(stream, "data");
    stream.close(8);
    expect(await reset.promise).toBe(8);
    session.destroy();
  });

  test("is nothing at all unless it is set up", async () => {
    const bare = new ProxyFixture();
    bare.apply();
    port = await bare.listen();
    expect((await get("/v1/hms.x/Y", token)).status).toBe(404);
    expect((await get("/docs")).status).toBe(404);
    await bare.close();
  });
});
