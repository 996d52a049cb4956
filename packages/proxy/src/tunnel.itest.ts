import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deadPort, ProxyFixture, until } from "./proxy-fixture.ts";

let fixture: ProxyFixture;
beforeEach(() => {
  fixture = new ProxyFixture({ tunnelGraceMs: 300 });
});
afterEach(() => fixture.close());

const UPGRADE =
  "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/** A service that upgrades and sends back what it gets, upper case. */
async function echoService(): Promise<{ port: number; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const port = await fixture.service(
    (_, response) => response.writeHead(426).end("plain"),
    (server) => {
      server.on("upgrade", (request, socket: Socket) => {
        sockets.push(socket);
        const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
        const accept = createHash("sha1").update(key).digest("base64");
        const head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";
        socket.write(`${head}Sec-WebSocket-Accept: ${accept}\r\n\r\nwelcome `);
        socket.on("data", (bytes) => socket.write(String(bytes).toUpperCase()));
        socket.on("end", () => socket.end("bye"));
        socket.on("error", () => socket.destroy());
      });
    },
  );
  return { port, sockets };
}

describe("an upgrade", () => {
  it("becomes a tunnel both ways, counted as in flight until either side closes", async () => {
    const { port: service } = await echoService();
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    const received = await client.exchange(`${UPGRADE}early `, /welcome EARLY $/);
    expect(received).toMatch(/^HTTP\/1.1 101 Switching Protocols\r\n/);
    expect(received).toMatch(/sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/i);
    expect(received).toMatch(/connection: upgrade\r\nupgrade: websocket\r\n/);
    await client.exchange("more", /MORE$/);
    expect(fixture.engine.inFlight("a")).toBe(1);
    client.socket.end();
    expect(await client.closed()).toMatch(/bye$/);
    await until(() => fixture.engine.inFlight("a") === 0);
  });

  it("carries much in both directions without losing a byte", async () => {
    const { port: service } = await echoService();
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    await client.exchange(UPGRADE, /welcome $/);
    const start = client.received.length;
    const size = 20 * 1024 * 1024;
    client.socket.write("a".repeat(size));
    await until(() => client.received.length - start >= size);
    expect(client.received.slice(start)).toBe("A".repeat(size));
  });

  it("that the service refuses is answered with the service's answer", async () => {
    const service = await fixture.service((_, response) => response.writeHead(426).end("plain"));
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    client.socket.write(UPGRADE);
    expect(await client.closed()).toMatch(/^HTTP\/1.1 426 [\s\S]*plain/);
  });

  it("that goes nowhere is answered with an error", async () => {
    fixture.apply({ endpoints: [{ port: await deadPort() }], routes: [{ path: "/chat", methods: [] }] });
    const port = await fixture.listen();
    const nobody = await fixture.rawClient(port);
    nobody.socket.write(UPGRADE);
    expect(await nobody.closed()).toMatch(/^HTTP\/1.1 503 /);
    const lost = await fixture.rawClient(port);
    lost.socket.write(UPGRADE.replace("/chat", "/else"));
    expect(await lost.closed()).toMatch(/^HTTP\/1.1 404 /);
  });

  it("to another version of HTTP is ignored", async () => {
    const service = await fixture.service((request, response) => response.end(`plain ${request.headers.upgrade}`));
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    const text =
      "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n";
    await client.exchange(text, /HTTP\/1.1 200 [\s\S]*plain undefined$/);
  });

  it("nobody asked for is an error of the service", async () => {
    const service = await fixture.rawService((socket) => {
      socket.on("data", () => socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"));
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    await client.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n", /HTTP\/1.1 502 /);
    expect(fixture.engine.inFlight("a")).toBe(0);
  });

  it("is closed after the grace when its endpoint drains, and reported until then", async () => {
    const { port: service } = await echoService();
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    await client.exchange(UPGRADE, /welcome $/);
    const drained: string[] = [];
    fixture.engine.onDrained((id) => drained.push(id));
    fixture.apply({ endpoints: [{ port: service, state: "draining" }] });
    expect(fixture.engine.drainingInFlight()).toEqual(new Map([["a", 1]]));
    await client.exchange("still", /STILL$/);
    await client.closed();
    expect(drained).toEqual(["a"]);
    expect(fixture.engine.drainingInFlight()).toEqual(new Map());
  });
});

describe("the forward proxy", () => {
  const credentials = (user: string) => `Proxy-Authorization: Basic ${Buffer.from(`${user}:x`).toString("base64")}\r\n`;

  async function twoEnvironments(): Promise<number> {
    const say = (text: string) =>
      fixture.service((request, response) => {
        response.end(`${text} ${request.headers.host} ${request.url} ${request.headers["proxy-authorization"]}`);
      });
    fixture.apply(
      { name: "receipt-svc", endpoints: [{ port: await say("default") }] },
      { name: "receipt-svc", environment: "staging", endpoints: [{ id: "s", port: await say("staging") }] },
    );
    return fixture.listen(fixture.engine.forwardProxyHandler);
  }

  it("sends names of the mesh to their service in the caller's environment", async () => {
    const port = await twoEnvironments();
    const client = await fixture.rawClient(port);
    const head = "GET http://receipt-svc.mesh/a?b HTTP/1.1\r\nHost: receipt-svc.mesh\r\n";
    await client.exchange(`${head}\r\n`, /default receipt-svc\.mesh \/a\?b undefined/);
    await client.exchange(`${head}${credentials("staging")}\r\n`, /staging receipt-svc\.mesh \/a\?b undefined/);
    await client.exchange(
      `${head}${credentials("nowhere")}\r\n`,
      /404 [\s\S]*no service \\"receipt-svc\\" in the environment \\"nowhere\\"/,
    );
  });

  it("opens tunnels to services with CONNECT, past replicas that are dead", async () => {
    const alive = await fixture.service((request, response) => response.end(`hello ${request.url}`));
    fixture.apply({ name: "web", endpoints: [{ port: await deadPort() }, { port: alive }] });
    const port = await fixture.listen(fixture.engine.forwardProxyHandler);
    for (let i = 0; i < 5; i++) {
      const client = await fixture.rawClient(port);
      await client.exchange(
        "CONNECT web.mesh:80 HTTP/1.1\r\nHost: web.mesh:80\r\n\r\n",
        /^HTTP\/1.1 200 .*\r\n[\s\S]*\r\n\r\n$/,
      );
      await client.exchange("GET /x HTTP/1.1\r\nHost: web.mesh\r\n\r\n", /hello \/x/);
      expect(fixture.engine.inFlight("b")).toBe(1);
      client.socket.destroy();
      await until(() => fixture.engine.inFlight("b") === 0);
    }
  });

  it("passes other hosts through, by request and by CONNECT", async () => {
    const outside = await fixture.service((request, response) => response.end(`outside ${request.url}`));
    const port = await fixture.listen(fixture.engine.forwardProxyHandler);
    const client = await fixture.rawClient(port);
    await client.exchange(`GET http://127.0.0.1:${outside}/o HTTP/1.1\r\nHost: x\r\n\r\n`, /outside \/o/);
    const tunnel = await fixture.rawClient(port);
    await tunnel.exchange(`CONNECT 127.0.0.1:${outside} HTTP/1.1\r\nHost: x\r\n\r\n`, /^HTTP\/1.1 200 /);
    await tunnel.exchange("GET /t HTTP/1.1\r\nHost: x\r\n\r\n", /outside \/t/);
    const dead = await fixture.rawClient(port);
    dead.socket.write(`CONNECT 127.0.0.1:${await deadPort()} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(await dead.closed()).toMatch(/^HTTP\/1.1 503 /);
  });

  it("refuses what is not meant for a proxy", async () => {
    const port = await twoEnvironments();
    const origin = await fixture.rawClient(port);
    await origin.exchange("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", /^HTTP\/1.1 400 [\s\S]*HTTP proxy/);
    const connect = await fixture.rawClient(port);
    connect.socket.write("CONNECT nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(await connect.closed()).toMatch(/^HTTP\/1.1 400 /);
    const gateway = await fixture.rawClient(await fixture.listen());
    gateway.socket.write("CONNECT receipt-svc.mesh:80 HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(await gateway.closed()).toMatch(/^HTTP\/1.1 405 /);
  });
});
