import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  createServer as createHttp2,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ProxyFixture, until } from "./proxy-fixture.ts";

let folder = "";
let fixture: ProxyFixture;
let session: ClientHttp2Session;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hms-heads-"));
  fixture = new ProxyFixture({ edgeSocket: join(folder, "edge.sock") });
});
afterEach(async () => {
  await fixture.close();
  rmSync(folder, { recursive: true });
});

async function startGateway(service?: number): Promise<number> {
  fixture.apply({ endpoints: service === undefined ? [] : [{ port: service }] });
  const port = await fixture.listen();
  // Room for all that it is to send.
  session = connectHttp2(`http://127.0.0.1:${port}`, { maxSessionMemory: 100 });
  fixture.onClose(() => session.destroy());
  return port;
}

/** Starts the platform's edge. */
async function startEdge(answer: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void) {
  const server = createHttp2().on("stream", answer).listen(join(folder, "edge.sock"));
  fixture.onClose(() => void server.close());
  await once(server, "listening");
}

/** A service that answers every request with these bytes. */
const answering = (head: string) =>
  fixture.rawService((socket) => void socket.on("data", () => void socket.write(head, "latin1")));

const grpc = { ":method": "POST", ":authority": "hms.localhost", "content-type": "application/grpc" };

/** The status of the answer, or how the stream ended without one. */
function outcome(stream: ClientHttp2Stream): Promise<unknown> {
  return new Promise((resolve) => {
    stream.resume();
    stream.on("response", (head) => resolve(head[":status"]));
    stream.on("error", (error) => resolve((error as Error).message));
    stream.on("close", () => resolve(`closed with ${stream.rstCode}`));
  });
}

/** Sends one request with fields that Node's own client does not send: as literals (RFC 7541 §6.2.2), without a body. */
async function sendRaw(port: number, fields: Record<string, string>): Promise<void> {
  const text = (value: string) => Buffer.concat([Buffer.of(value.length), Buffer.from(value)]);
  const block = Object.entries(fields).flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]);
  const payload = Buffer.concat(block);
  const frame = Buffer.from([0, 0, 0, 1, 0x5, 0, 0, 0, 1]);
  frame.writeUIntBE(payload.length, 0, 3);
  const client = connect(port, "127.0.0.1");
  fixture.onClose(() => client.destroy());
  client.write(
    Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]),
  );
  client.write(Buffer.concat([frame, payload]));
  await once(client, "data");
}

/** Posts more than fits on the way to somebody who does not read, and resets the stream as if nothing were wrong. */
async function leaveBody(headers: Record<string, string>): Promise<void> {
  const stream = session.request({ ":method": "POST", ":path": "/", ...headers });
  stream.on("error", () => {});
  stream.write(Buffer.alloc(32_000_000));
  let written = -1;
  let changedAt = 0;
  await until(() => {
    const { bytesWritten } = session.socket;
    if (bytesWritten !== written) changedAt = performance.now();
    written = bytesWritten;
    return written > 0 && performance.now() - changedAt > 300;
  });
  stream.close(0);
  await new Promise((resolve) => session.ping(resolve));
}

describe("a field of a connection", () => {
  test("is not passed on to the platform's edge, nor a `te` other than trailers", async () => {
    const seen: IncomingHttpHeaders[] = [];
    await startEdge((stream, headers) => {
      seen.push(headers);
      stream.respond({}, { endStream: true });
    });
    const port = await startGateway();
    const request = { ":scheme": "http", ":path": "/hms.x.v1.X/Y", ...grpc };
    await sendRaw(port, { ...request, "http2-settings": "x", te: "Trailers", "x-more": "1" });
    await until(() => seen.length === 1);
    expect(seen[0]).toMatchObject({ "content-type": "application/grpc", "x-more": "1" });
    expect([seen[0]?.["http2-settings"], seen[0]?.te]).toEqual([undefined, undefined]);
    expect(await outcome(session.request({ ...grpc, te: "trailers" }).end())).toBe(200);
    expect(seen[1]?.te).toBe("trailers");
  });

  test("is not passed on in a service's answer", async () => {
    const service = await answering(
      "HTTP/1.1 103 Early Hints\r\nHTTP2-Settings: x\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nHTTP2-Settings: x\r\nTE: gzip\r\nKeep-Alive: timeout=5\r\nX-More: 1\r\nContent-Length: 0\r\n\r\n",
    );
    await startGateway(service);
    const stream = session.request({ ":path": "/" }).resume();
    const early = once(stream, "headers");
    const [head] = (await once(stream, "response")) as [IncomingHttpHeaders];
    expect(head).toMatchObject({ ":status": 200, "x-more": "1" });
    expect([head["http2-settings"], head.te, head["keep-alive"]]).toEqual([undefined, undefined, undefined]);
    expect((await early)[0]).toMatchObject({ ":status": 103, link: "<a>" });
  });
});

test("an answer that HTTP/2 has no way to say ends its own stream only", async () => {
  await startGateway(await answering("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"));
  expect(await outcome(session.request({ ":path": "/" }))).toContain("INTERNAL_ERROR");
  expect(await outcome(session.request({ ":path": "/" }))).toContain("INTERNAL_ERROR");
});

describe("a client that resets its stream with its body unread", () => {
  test("is not sent a service's answer, and the service gets no part of a body as a whole one", async () => {
    const bodies: string[] = [];
    const gone = Promise.withResolvers<void>();
    const service = await fixture.service(async (request, response) => {
      if (request.method === "GET") {
        response.end();
        return;
      }
      request.on("error", () => {});
      request.on("close", () => bodies.push(request.complete ? "whole" : "cut"));
      await gone.promise;
      response.write("late");
      setTimeout(() => request.resume(), 100);
    });
    await startGateway(service);
    await leaveBody({});
    gone.resolve();
    await until(() => bodies.length === 1);
    expect(bodies).toEqual(["cut"]);
    expect(await outcome(session.request({ ":path": "/" }))).toBe(200);
  });

  test("is not sent the platform's answer, and its call is cancelled there", async () => {
    const codes: (number | undefined)[] = [];
    const gone = Promise.withResolvers<void>();
    await startEdge(async (stream, headers) => {
      stream.on("error", () => {});
      stream.on("close", () => codes.push(stream.rstCode));
      if (headers[":path"] === "/") await gone.promise;
      if (!stream.closed) stream.respond({}, { endStream: true });
    });
    await startGateway();
    await leaveBody(grpc);
    gone.resolve();
    await until(() => codes.length === 1);
    expect(codes).toEqual([8]);
    expect(await outcome(session.request({ ...grpc, ":path": "/again" }).end())).toBe(200);
  });
});
