import { once } from "node:events";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { type AddressInfo, connect } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { testAuthority } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SecureServer } from "./proxy-engine.ts";
import { ProxyFixture, RawClient, readBody } from "./proxy-fixture.ts";

const authority = testAuthority();
const first = authority.issue("DNS:first.test", "DNS:*.first.test");
const second = authority.issue("DNS:second.test");

let fixture: ProxyFixture;
let secure: SecureServer;
let port = 0;
beforeEach(async () => {
  fixture = new ProxyFixture();
  const service = await fixture.service(async (request, response) => {
    const body = await readBody(request);
    const { host, cookie = "", "x-forwarded-proto": proto, te = "" } = request.headers;
    response.setHeader("x-seen", `${request.method} ${request.url} ${host} ${proto} ${cookie} ${te}`);
    response.setHeader("set-cookie", ["a=1", "b=2"]);
    response.statusCode = request.url === "/missing" ? 404 : 200;
    response.end(`${body.length} bytes`);
  });
  fixture.apply({ endpoints: [{ port: service }] });
  secure = fixture.engine.createSecureServer(fixture.engine.gatewayHandler, { certificates: [first, second] });
  secure.server.listen(0, "127.0.0.1");
  await once(secure.server, "listening");
  port = (secure.server.address() as AddressInfo).port;
});
afterEach(() => fixture.close());

async function tlsClient(servername?: string, more: object = {}): Promise<TLSSocket> {
  const socket = connectTls({
    port,
    host: "127.0.0.1",
    ca: authority.ca,
    rejectUnauthorized: false,
    ...(servername ? { servername } : {}),
    ...more,
  });
  fixture.onClose(() => socket.destroy());
  await once(socket, "secureConnect");
  return socket;
}

async function http2Get(
  path: string,
  {
    headers = {},
    body = "",
    url = `https://127.0.0.1:${port}`,
  }: { headers?: Record<string, string>; body?: string; url?: string } = {},
) {
  const session = connectHttp2(url, { ca: authority.ca, rejectUnauthorized: false });
  fixture.onClose(() => session.destroy());
  const stream = session.request({ ":path": path, ...headers }, { endStream: body === "" });
  if (body !== "") stream.end(body);
  const [answer] = (await once(stream, "response")) as [IncomingHttpHeaders];
  let text = "";
  for await (const chunk of stream.setEncoding("utf8")) text += chunk;
  session.close();
  return { answer, text };
}

describe("the gateway over TLS", () => {
  it("shows the certificate of the name that is asked for, and the first one to everybody else", async () => {
    const names = async (name?: string) => (await tlsClient(name)).getPeerX509Certificate()?.subjectAltName;
    expect(await names("second.test")).toBe("DNS:second.test");
    for (const name of ["shop.first.test", "FIRST.test", "unknown.test", undefined]) {
      expect(await names(name)).toContain("DNS:first.test");
    }
  });

  it("answers HTTP/1.1 and says to the service that the client came by https", async () => {
    const client = new RawClient(await tlsClient("first.test", { ALPNProtocols: ["http/1.1"] }));
    const answer = await client.exchange("GET /x HTTP/1.1\r\nHost: first.test\r\n\r\n", /0 bytes/);
    expect(answer).toContain("x-seen: GET /x first.test https");
  });

  it("answers HTTP/2 with what the service said, bodies and many requests on one connection included", async () => {
    const { answer, text } = await http2Get("/y?z=1", {
      headers: { ":method": "POST", cookie: "a=1; b=2", te: "trailers" },
      body: "x".repeat(300_000),
    });
    expect(text).toBe("300000 bytes");
    expect(answer).toMatchObject({
      ":status": 200,
      "x-seen": `POST /y?z=1 127.0.0.1:${port} https a=1; b=2`,
      "set-cookie": ["a=1", "b=2"],
    });
    expect((await http2Get("/missing")).answer[":status"]).toBe(404);
    const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    const statuses = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const [one] = (await once(session.request({ ":path": "/many" }).resume(), "response")) as [IncomingHttpHeaders];
        return one[":status"];
      }),
    );
    session.destroy();
    expect(new Set(statuses)).toEqual(new Set([200]));
  });

  it("changes certificates for new connections, and lets those that stand go on", async () => {
    const before = new RawClient(await tlsClient("first.test"));
    await before.exchange("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n", /GET \/1 /);
    secure.useCertificates({ certificates: [second] });
    expect((await tlsClient("first.test")).getPeerX509Certificate()?.subjectAltName).toBe("DNS:second.test");
    await before.exchange("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n", /GET \/2 /);
    expect(() => secure.useCertificates({ certificates: [{ cert: first.cert, key: second.key }] })).toThrow(
      /cannot be used/,
    );
    expect(() => secure.useCertificates({ certificates: [] })).toThrow(/there is none/);
    expect((await tlsClient("first.test")).getPeerX509Certificate()?.subjectAltName).toBe("DNS:second.test");
  });

  it("speaks TLS 1.2 with suites only that have forward secrecy and authenticate what they encrypt", async () => {
    const speak = (ciphers: string) =>
      tlsClient("first.test", { maxVersion: "TLSv1.2", ciphers }).then(
        (socket) => socket.getCipher().name,
        () => "refused",
      );
    for (const weak of ["AES128-GCM-SHA256", "AES256-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"]) {
      expect([weak, await speak(weak)]).toEqual([weak, "refused"]);
    }
    expect(await speak("DEFAULT")).toMatch(/^ECDHE-.*(?:GCM|CHACHA20)/);
  });

  it("refuses old versions of TLS and renegotiation, and lives on after bytes that are no TLS", async () => {
    await expect(
      tlsClient("first.test", { maxVersion: "TLSv1.1", minVersion: "TLSv1", ciphers: "DEFAULT@SECLEVEL=0" }),
    ).rejects.toThrow();
    const old = await tlsClient("first.test", { maxVersion: "TLSv1.2" });
    const error = await new Promise<Error | null>((resolve) => {
      old.on("error", resolve);
      old.renegotiate({}, resolve);
    });
    expect(error).not.toBeNull();
    for (const bytes of [
      "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
      "\x16\x03\x01\xff\xff",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]) {
      const raw = new RawClient(connect(port, "127.0.0.1"));
      raw.socket.write(bytes, "latin1");
      raw.socket.end();
      await raw.closed();
      expect(raw.received).not.toContain("HTTP/1.1 200");
    }
    for (const name of ["x".repeat(255), "%00", "a..b", "*.first.test"]) await tlsClient(name).catch(() => {});
    expect((await http2Get("/after")).answer[":status"]).toBe(200);
  });
});

describe("HTTP/2 without TLS", () => {
  it("is answered at the gateway's port where a client begins with it, whole or in pieces", async () => {
    const plain = await fixture.listen();
    const { answer, text } = await http2Get("/plain", {
      headers: { ":method": "PUT" },
      body: "hello",
      url: `http://127.0.0.1:${plain}`,
    });
    expect([answer[":status"], text]).toEqual([200, "5 bytes"]);
    expect(answer["x-seen"]).toMatch(/ http$/);
    const pieces = await fixture.rawClient(plain);
    pieces.socket.write("PRI * HTT");
    await new Promise((resolve) => setTimeout(resolve, 20));
    // An empty SETTINGS frame; the first frame of the answer is one, too.
    const received = await pieces.exchange("P/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", /./s);
    expect(received.charCodeAt(3)).toBe(4);
  });

  it("does not pass an answer that broke off for a whole one", async () => {
    const service = await fixture.rawService((socket) =>
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        setTimeout(() => socket.destroy(), 50);
      }),
    );
    fixture.apply({ endpoints: [{ port: service }] });
    const session = connectHttp2(`http://127.0.0.1:${await fixture.listen()}`);
    fixture.onClose(() => session.destroy());
    const stream = session.request({ ":path": "/broken" }).resume();
    const [error] = await once(stream, "error");
    expect(error).toMatchObject({ message: expect.stringContaining("INTERNAL_ERROR") });
  });

  it("cannot carry what HTTP/1.1 would read as something else", async () => {
    const plain = `http://127.0.0.1:${await fixture.listen()}`;
    const outcome = (headers: Record<string, string>) =>
      http2Get("/x", { headers, url: plain }).then(
        ({ answer }) => answer[":status"],
        (error: Error) => error.message,
      );
    expect(await outcome({ ":path": "/a b" })).not.toBe(200);
    expect(await outcome({ ":path": "//x/../y" })).not.toBe(200);
    expect(await outcome({ ":authority": "a b" })).not.toBe(200);
    expect(await outcome({ ":method": "CONNECT" })).not.toBe(200);
  });

  it("ends with the engine: what runs is finished", async () => {
    const plain = await fixture.listen();
    const session = connectHttp2(`http://127.0.0.1:${plain}`);
    await once(session, "connect");
    const stream = session.request({ ":path": "/last" }).resume();
    const [answer] = await once(stream, "response");
    const closed = once(session, "close");
    await fixture.engine.close({ graceMs: 1000 });
    expect(answer[":status"]).toBe(200);
    await closed;
  });
});
