import { type AddressInfo, createServer } from "node:net";
import { namesLeadTo } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deadPort, ProxyFixture, readBody, until } from "./proxy-fixture.ts";

let fixture: ProxyFixture;
beforeEach(() => {
  fixture = new ProxyFixture();
});
afterEach(() => fixture.close());

/** A service that cuts the connection at the first request of each path, after it has read the request. */
async function flakyService() {
  const requests: string[] = [];
  const port = await fixture.service(async (request, response) => {
    const body = await readBody(request);
    requests.push(`${request.method} ${request.url} ${body.length}`);
    if (requests.filter((entry) => entry.includes(` ${request.url} `)).length === 1) request.socket.destroy();
    else response.end(body);
  });
  return { port, requests };
}

function metric(name: string): number {
  return Number(new RegExp(`^${name}\\{.*service="svc".*\\} (\\d+)$`, "m").exec(fixture.engine.metrics())?.[1]);
}

describe("a replica that cannot be reached", () => {
  it("costs no request, not even a POST, and is left alone for a while", async () => {
    const alive = await fixture.service(async (request, response) => response.end(await readBody(request)));
    fixture.apply({ endpoints: [{ port: await deadPort() }, { port: alive }] });
    const port = await fixture.listen();
    const statuses = [];
    for (let i = 0; i < 40; i++) {
      statuses.push((await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: `${i}` })).status);
    }
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(metric("hms_proxy_ejections_total")).toBeGreaterThanOrEqual(1);
    expect(metric("hms_proxy_ejections_total")).toBeLessThanOrEqual(5);
  });

  it("is tried when there is no other, and the answer says 503 if it stays away", async () => {
    const dead = await deadPort();
    fixture.apply({ endpoints: [{ port: dead }] });
    const port = await fixture.listen();
    const response = await fetch(`http://127.0.0.1:${port}/`);
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await response.text()).toMatch(/ECONNREFUSED/);
  });
});

describe("a request whose connection breaks before the answer", () => {
  it("is repeated if it is idempotent, with its body", async () => {
    const { port: service, requests } = await flakyService();
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    const body = "x".repeat(60_000);
    expect((await fetch(`http://127.0.0.1:${port}/get`)).status).toBe(200);
    expect(await (await fetch(`http://127.0.0.1:${port}/put`, { method: "PUT", body })).text()).toBe(body);
    expect(requests).toEqual(["GET /get 0", "GET /get 0", "PUT /put 60000", "PUT /put 60000"]);
    expect(metric("hms_proxy_retries_total")).toBe(2);
  });

  it("is never repeated if it is a POST, and is if the policy allows it", async () => {
    const { port: service, requests } = await flakyService();
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    expect((await fetch(`http://127.0.0.1:${port}/a`, { method: "POST", body: "1" })).status).toBe(502);
    fixture.apply({ endpoints: [{ port: service }], policy: { retryPost: true } });
    expect((await fetch(`http://127.0.0.1:${port}/b`, { method: "POST", body: "1" })).status).toBe(200);
    expect(requests).toEqual(["POST /a 1", "POST /b 1", "POST /b 1"]);
  });

  it("is not repeated if its body was too large to keep", async () => {
    const { port: service, requests } = await flakyService();
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    const response = await fetch(`http://127.0.0.1:${port}/put`, { method: "PUT", body: "x".repeat(70_000) });
    expect(response.status).toBe(502);
    expect(requests).toEqual(["PUT /put 70000"]);
  });

  it("goes to another replica, and no further than the policy says", async () => {
    const hits: string[] = [];
    const service = (name: string) =>
      fixture.service((request) => {
        hits.push(name);
        request.socket.destroy();
      });
    const ports = [await service("one"), await service("two"), await service("three")];
    fixture.apply({ endpoints: ports.map((port) => ({ port })) });
    const port = await fixture.listen();
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(502);
    expect(new Set(hits).size).toBe(2);
    expect(hits).toHaveLength(2);
  });

  it("stays within the budget when everything breaks", async () => {
    let hits = 0;
    const service = await fixture.service((request) => {
      hits++;
      request.socket.destroy();
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    const started = performance.now();
    for (let i = 0; i < 20; i++) {
      await Promise.all(Array.from({ length: 10 }, () => fetch(`http://127.0.0.1:${port}/`)));
    }
    const allowance = 10 + 200 * 0.2 + ((performance.now() - started) / 1000) * 10;
    expect(hits - 200).toBeLessThanOrEqual(Math.ceil(allowance));
  });

  it("ends in a broken connection, not in a second answer, once the client has bytes", async () => {
    let hits = 0;
    const service = await fixture.service((_, response) => {
      hits++;
      response.writeHead(200, { "content-length": 10 });
      response.write("half ", () => response.destroy());
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    client.socket.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(await client.closed()).toMatch(/\r\n\r\nhalf $/);
    expect(hits).toBe(1);
  });
});

describe("pooled connections", () => {
  it("never cost a POST when the service closes idle ones", async () => {
    const service = await fixture.service(
      async (request, response) => response.end(await readBody(request)),
      (server) => {
        server.keepAliveTimeout = 1;
        server.keepAliveTimeoutBuffer = 0;
      },
    );
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    const deadline = Date.now() + 1500;
    let sent = 0;
    while (Date.now() < deadline) {
      const response = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "x" });
      expect(response.status).toBe(200);
      sent++;
    }
    expect(sent).toBeGreaterThan(100);
  });

  it("are used again, and given up before the time that the service announces", async () => {
    let connections = 0;
    const service = await fixture.service(
      (_, response) => response.end(),
      (server) => {
        server.keepAliveTimeout = 1000;
        server.on("connection", () => connections++);
      },
    );
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    for (let i = 0; i < 5; i++) await fetch(`http://127.0.0.1:${port}/`);
    expect(connections).toBe(1);
    expect(fixture.engine.metrics()).toMatch(/upstream_connections\{.*"svc",state="idle"\} 1$/m);
    const closing = performance.now();
    await until(() => /upstream_connections\{.*"svc",state="idle"\} 0$/m.test(fixture.engine.metrics()));
    expect(performance.now() - closing).toBeLessThan(900);
  });

  it("that announce surplus bytes are not used again", async () => {
    let connections = 0;
    const service = await fixture.rawService((socket) => {
      connections++;
      socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 evil\r\n"));
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    for (let i = 0; i < 3; i++) expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("ok");
    expect(connections).toBe(3);
  });

  it("do not come about to a name that leads to a special network, although somebody answers there", async () => {
    let connections = 0;
    const server = createServer((socket) => {
      connections++;
      socket.destroy();
    }).listen(0, "0.0.0.0");
    fixture.onClose(() => server.close());
    await until(() => server.listening);
    using _ = namesLeadTo({ "metadata.example": "0.0.0.0" });
    fixture.apply({ endpoints: [{ host: "metadata.example", port: (server.address() as AddressInfo).port }] });
    expect((await fetch(`http://127.0.0.1:${await fixture.listen()}/`)).status).toBe(503);
    expect(connections).toBe(0);
  });
});
