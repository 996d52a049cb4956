import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, request, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
const token = { authorization: "Bearer t" };

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

  test("is nothing at all unless it is set up", async () => {
    const bare = new ProxyFixture();
    bare.apply();
    port = await bare.listen();
    expect((await get("/v1/hms.x/Y", token)).status).toBe(404);
    expect((await get("/docs")).status).toBe(404);
    await bare.close();
  });
});
