import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { freePort } from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { probe } from "./probe.ts";

async function ask(listener: RequestListener, timeoutMs = 1000) {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  try {
    return await probe({ host: "127.0.0.1", port, http: "/up", timeoutMs });
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

describe("a probe", () => {
  test("by HTTP is passed by 2xx and 3xx", async () => {
    expect((await ask((_, response) => response.writeHead(204).end())).ok).toBe(true);
    expect((await ask((_, response) => response.writeHead(302, { location: "/" }).end())).ok).toBe(true);
  });

  test("says the status and the beginning of the body if it is not passed", async () => {
    const { ok, answer } = await ask((_, response) => response.writeHead(503).end("x".repeat(1000)));
    expect(ok).toBe(false);
    expect(answer).toBe(`HTTP 503 Service Unavailable: ${"x".repeat(200)}`);
  });

  test("ends at its timeout, also in the middle of a body", async () => {
    expect(await ask(() => {}, 50)).toMatchObject({ ok: false, answer: "no answer to GET /up within 50 ms" });
    const endless = await ask((_, response) => void response.writeHead(500).write("so far"), 80);
    expect(endless.ok).toBe(false);
  });

  test("by TCP is passed by a connection, and says who refused", async () => {
    const server = createTcpServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    expect((await probe({ host: "127.0.0.1", port, http: undefined, timeoutMs: 500 })).ok).toBe(true);
    server.close();
    const closed = await freePort();
    const refused = await probe({ host: "127.0.0.1", port: closed, http: undefined, timeoutMs: 500 });
    expect(refused.answer).toBe(`connect ECONNREFUSED 127.0.0.1:${closed}`);
  });
});
