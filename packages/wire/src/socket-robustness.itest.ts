import { mkdir, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { dirname } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { afterEach, describe, expect, test } from "vitest";
import { FrameFlag, FrameType } from "./frame.ts";
import { mutatedFrames, random } from "./fuzz-frames.ts";
import { metadataFields } from "./metadata-fields.ts";
import type { SeenFrame } from "./raw-peer.ts";
import { frameBytes, RawPeer, rawServer } from "./raw-peer.ts";
import { type RegistryHandlers, Stage, TOKEN, until } from "./registry-on-socket.ts";
import { requestPrefix } from "./request-envelope.ts";
import { ResponseEnvelope } from "./response-envelope.ts";

const stage = new Stage();
afterEach(() => stage.release());

const SERVICE = registry.RegistryService.typeName;
const bearer = metadataFields({ authorization: `Bearer ${TOKEN}` });
const requestData = (method: string) => Buffer.concat([requestPrefix(SERVICE, method), bearer]);
const request = (stream: number, method = "Lookup", flags = 0) =>
  frameBytes(stream, { type: FrameType.REQUEST, flags }, requestData(method));

async function rawTo(own: Partial<RegistryHandlers>, options = {}) {
  const server = await stage.serve({ lookup: () => ({}), ...own }, options);
  const peer = await RawPeer.to(server.path);
  stage.defer(() => peer.socket.destroy());
  return { server, peer };
}

function errorOf(frame: SeenFrame): string | undefined {
  const envelope = new ResponseEnvelope();
  envelope.read({ ...frame, bytes: frame.data, start: 0, end: frame.data.length });
  return envelope.error?.code;
}

const answerTo = (stream: number) => (frame: SeenFrame) => frame.stream === stream && frame.type === FrameType.RESPONSE;

describe("a server on its socket", () => {
  test("answers a stock ttrpc request without any extension", async () => {
    const { peer } = await rawTo({ lookup: () => ({ service: { serviceId: "s" } }) });
    peer.send(request(1));
    const { data, flags } = await peer.frame(answerTo(1));
    const message = toBinary(
      registry.LookupResponseSchema,
      create(registry.LookupResponseSchema, { service: { serviceId: "s" } }),
    );
    expect(data).toEqual(Buffer.concat([Buffer.from([0x12, message.length]), message]));
    expect(flags).toBe(0);
    expect(peer.frames).toHaveLength(1);
  });

  test("streams to a stock ttrpc peer and ends the stream with an empty closing frame", async () => {
    const { peer } = await rawTo({
      watch: async function* () {
        yield { kind: 1 };
        yield {};
      },
    });
    peer.send(request(1, "Watch", FrameFlag.REMOTE_CLOSED));
    await peer.frame((frame) => frame.flags !== 0);
    expect(peer.frames.map(({ type, flags, data }) => [type, flags, data.toString("hex")])).toEqual([
      [FrameType.DATA, 0, "0801"],
      [FrameType.DATA, 0, ""],
      [FrameType.DATA, FrameFlag.REMOTE_CLOSED | FrameFlag.NO_DATA, ""],
    ]);
  });

  test("refuses even, repeated and falling stream ids, and goes on", async () => {
    const { peer } = await rawTo({});
    peer.send(request(2), request(5), request(5), request(3), request(7));
    await peer.frame(answerTo(7));
    await until(() => peer.frames.length === 5);
    const codes = peer.frames.map((frame) => `${frame.stream} ${errorOf(frame) ?? "OK"}`);
    expect(codes.sort()).toEqual(["2 INVALID_ARGUMENT", "3 INVALID_ARGUMENT", "5 INVALID_ARGUMENT", "5 OK", "7 OK"]);
  });

  test("skips frame types it does not know, on any stream", async () => {
    const { peer } = await rawTo({});
    for (const type of [0x00, 0x04, 0x15, 0x16, 0xff])
      peer.send(frameBytes(1, { type, flags: 0xff }, Buffer.from("x")));
    peer.send(frameBytes(0, { type: 0x42 }), request(1));
    await peer.frame(answerTo(1));
    expect(peer.frames).toHaveLength(1);
  });

  test("answers what cannot be read on its own stream and keeps the connection", async () => {
    const { peer } = await rawTo({});
    const broken = (stream: number, hex: string) =>
      frameBytes(stream, { type: FrameType.REQUEST }, Buffer.from(hex, "hex"));
    const badMessage = Buffer.concat([requestData("Lookup"), Buffer.from([0x1a, 0x02, 0x0a, 0x05])]);
    peer.send(broken(1, "0a05414243"), broken(3, "ffffffffffffffffffffff"), broken(5, ""));
    peer.send(frameBytes(7, { type: FrameType.REQUEST }, badMessage), frameBytes(9, { type: FrameType.DATA }));
    peer.send(frameBytes(11, { type: FrameType.REQUEST }, Buffer.alloc((4 << 20) + 1)), request(13));
    await peer.frame(answerTo(13));
    await until(() => peer.frames.length === 7);
    expect(Object.fromEntries(peer.frames.map((frame) => [frame.stream, errorOf(frame) ?? "OK"]))).toEqual({
      1: "INVALID_ARGUMENT",
      3: "INVALID_ARGUMENT",
      5: "UNIMPLEMENTED",
      7: "INVALID_ARGUMENT",
      9: "INVALID_ARGUMENT",
      11: "RESOURCE_EXHAUSTED",
      13: "OK",
    });
  });

  test("tells whoever speaks HTTP in one line what it speaks", async () => {
    const { server } = await rawTo({});
    const socket = connect(server.path);
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let text = "";
    for await (const chunk of socket) text += chunk;
    expect(text).toBe("This socket speaks HMS-SYS frames (ttrpc 1.2), not HTTP: use hms-sys or an SDK.\n");
  });

  test("ends a connection whose bytes are no frames any more, and stops its calls", async () => {
    let stopped = false;
    const { peer } = await rawTo({
      lookup: (_, { signal }) =>
        new Promise(() => {
          signal.addEventListener("abort", () => {
            stopped = true;
          });
          running = true;
        }),
    });
    let running = false;
    peer.send(request(1));
    await until(() => running);
    peer.send(Buffer.from("this is not a frame"));
    await until(() => peer.closed && stopped);
  });

  test("stops the calls of a peer that has gone, in the middle of a frame or without a word", async () => {
    let running = 0;
    let stopped = 0;
    const own: Partial<RegistryHandlers> = {
      lookup: (_, { signal }) =>
        new Promise(() => {
          running += 1;
          signal.addEventListener("abort", () => {
            stopped += 1;
          });
        }),
    };
    const { peer, server } = await rawTo(own);
    const other = await RawPeer.to(server.path);
    peer.send(request(1), request(3).subarray(0, 15));
    other.send(request(1));
    await until(() => running === 2);
    peer.socket.destroy();
    other.socket.end();
    await until(() => stopped === 2 && server.connections === 0);
  });

  test("runs 1024 calls of one connection and refuses the next", async () => {
    const waiting: (() => void)[] = [];
    const { peer } = await rawTo({ lookup: () => new Promise((resolve) => waiting.push(() => resolve({}))) });
    const ids = Array.from({ length: 1025 }, (_, n) => 2 * n + 1);
    peer.send(...ids.map((id) => request(id)));
    expect(errorOf(await peer.frame(answerTo(2049)))).toBe("RESOURCE_EXHAUSTED");
    await until(() => waiting.length === 1024);
    for (const answer of waiting.splice(0)) answer();
    await until(() => peer.frames.length === 1025);
    peer.send(request(2051));
    await until(() => waiting.length === 1);
    waiting[0]?.();
    expect(errorOf(await peer.frame(answerTo(2051)))).toBeUndefined();
  });

  test("holds a thousand idle connections and still answers", async () => {
    const { server, peer } = await rawTo({});
    const idle = await Promise.all(Array.from({ length: 1_000 }, () => RawPeer.to(server.path)));
    stage.defer(() => {
      for (const { socket } of idle) socket.destroy();
    });
    await until(() => server.connections === 1_001);
    peer.send(request(1));
    await peer.frame(answerTo(1));
    idle[500]?.send(request(1));
    await idle[500]?.frame(answerTo(1));
  });

  test("stops reading from a peer that does not read its answers", async () => {
    let answered = 0;
    const large = { service: { serviceId: "x".repeat(1 << 20) } };
    const server = await stage.serve({
      lookup: () => {
        answered += 1;
        return large;
      },
    });
    const peer = await RawPeer.to(server.path, { reads: false });
    stage.defer(() => peer.socket.destroy());
    // In steps, as a peer would that goes on asking.
    for (let n = 0; n < 500; n += 1) {
      peer.send(request(2 * n + 1));
      await new Promise((resolve) => setImmediate(resolve));
    }
    let before = -1;
    await until(() => {
      const still = before === answered;
      before = answered;
      return still;
    });
    expect(answered).toBeLessThan(100);
  });

  test("lets a peer without extensions that reads slowly hold its stream up by the socket", async () => {
    let produced = 0;
    const server = await stage.serve({
      watch: async function* () {
        for (; produced < 100_000; produced += 1) yield { service: { serviceId: "x".repeat(1000) } };
      },
    });
    const peer = await RawPeer.to(server.path, { reads: false });
    stage.defer(() => peer.socket.destroy());
    peer.send(request(1, "Watch", FrameFlag.REMOTE_CLOSED));
    let before = 0;
    await until(() => {
      const still = before === produced && produced > 0;
      before = produced;
      return still;
    });
    // What the system buffers for a socket, and 256 KiB of ours.
    expect(produced).toBeLessThan(2_000);
  });

  test("answers PING, and HELLO before anything else", async () => {
    const { peer } = await rawTo({});
    const eight = Buffer.from("12345678");
    peer.send(request(1), frameBytes(1, { type: FrameType.HELLO }, Buffer.from("0801100f18808010", "hex")));
    peer.send(frameBytes(0, { type: FrameType.PING }, eight));
    const pong = await peer.frame((frame) => frame.type === FrameType.PING);
    expect(pong).toMatchObject({ flags: FrameFlag.PONG, data: eight });
    await peer.frame(answerTo(1));
    expect(peer.frames[0]?.type).toBe(FrameType.HELLO);
  });

  test("outlives whatever bytes arrive, and then answers as before (seed 7)", async () => {
    const { server, peer } = await rawTo({
      lookup: () => ({}),
      watch: async function* () {
        yield {};
      },
    });
    const next = random(7);
    for (let round = 0; round < 40; round += 1) {
      const hostile = await Promise.all(Array.from({ length: 10 }, () => RawPeer.to(server.path)));
      for (const { socket } of hostile) for (let n = 0; n < 5; n += 1) socket.write(mutatedFrames(next));
      for (const { socket } of hostile) socket.end();
      await until(() => hostile.every(({ closed }) => closed));
    }
    peer.send(request(1));
    await peer.frame(answerTo(1));
    await until(() => server.connections === 1);
  });

  test("refuses to take the place of a file that is no socket", async () => {
    const path = await stage.socketPath();
    await mkdir(dirname(path));
    await writeFile(path, "precious");
    await expect(stage.serve({}, { path })).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });
});

describe("a client", () => {
  async function againstRaw(options = {}) {
    const path = await stage.socketPath();
    await mkdir(dirname(path));
    const { peers, server } = await rawServer(path);
    stage.defer(() => server.close());
    const client = stage.connect({ path, ...options }).client;
    return { peers, client };
  }

  const failed = async (call: Promise<unknown>) => (await call.catch((error) => error)) as { code: string };

  test("uses no extension with a server that does not know them", async () => {
    const { peers, client } = await againstRaw();
    const first = client.lookup({});
    await until(() => peers.length === 1);
    const peer = peers[0] as RawPeer;
    await peer.frame((frame) => frame.type === FrameType.REQUEST);
    peer.send(frameBytes(1, { type: FrameType.RESPONSE }));
    await first;
    const leave = new AbortController();
    const second = client.lookup({}, { signal: leave.signal });
    await peer.frame((frame) => frame.type === FrameType.REQUEST && frame.stream === 3);
    leave.abort();
    expect(await failed(second)).toMatchObject({ code: "CANCELLED" });
    const third = client.lookup({});
    await peer.frame((frame) => frame.stream === 5);
    peer.send(frameBytes(3, { type: FrameType.RESPONSE }), frameBytes(5, { type: FrameType.RESPONSE }));
    await third;
    expect(peer.frames.map(({ type }) => type)).toEqual([
      FrameType.HELLO,
      FrameType.REQUEST,
      FrameType.REQUEST,
      FrameType.REQUEST,
    ]);
  });

  test("survives answers that are no answers, each at the expense of its own call", async () => {
    const { peers, client } = await againstRaw();
    const calls = Array.from({ length: 6 }, () => failed(client.lookup({})));
    await until(() => peers.length === 1);
    const peer = peers[0] as RawPeer;
    await peer.frame((frame) => frame.stream === 11);
    peer.send(
      frameBytes(1, { type: FrameType.RESPONSE }, Buffer.from("0a05", "hex")),
      frameBytes(3, { type: FrameType.RESPONSE }, Buffer.from("12020a05", "hex")),
      frameBytes(5, { type: FrameType.DATA }, Buffer.from("00", "hex")),
      frameBytes(7, { type: FrameType.RESPONSE }, Buffer.from("0a0408636161", "hex")),
      frameBytes(99, { type: FrameType.RESPONSE }, Buffer.from("garbage")),
      frameBytes(9, { type: FrameType.RESPONSE }, Buffer.alloc((4 << 20) + 1)),
      Buffer.from("HTTP/1.1 400 Bad Request\r\n"),
    );
    expect((await Promise.all(calls)).map(({ code }) => code)).toEqual([
      "INTERNAL",
      "INTERNAL",
      "INTERNAL",
      "INTERNAL",
      "RESOURCE_EXHAUSTED",
      "UNAVAILABLE",
    ]);
  });

  test("opens a new connection when the stream ids run out, and lets the old one finish", async () => {
    const { peers, client } = await againstRaw({ firstStream: 0xff_ff_ff_fd });
    const calls = [client.lookup({}), client.lookup({})];
    await until(() => peers.length === 1 && peers[0]?.frames.length === 3);
    const third = client.lookup({});
    await until(() => peers.length === 2 && peers[1]?.frames.length === 2);
    expect(peers[0]?.frames.map(({ stream }) => stream)).toEqual([1, 0xff_ff_ff_fd, 0xff_ff_ff_ff]);
    for (const stream of [0xff_ff_ff_fd, 0xff_ff_ff_ff])
      peers[0]?.send(frameBytes(stream, { type: FrameType.RESPONSE }));
    await Promise.all(calls);
    await until(() => peers[0]?.closed === true);
    peers[1]?.send(frameBytes(0xff_ff_ff_fd, { type: FrameType.RESPONSE }));
    await third;
  });

  test("gives a server up that gives no sign of life, if told to, and no other", async () => {
    const { peers, client } = await againstRaw({ keepAliveMs: 150 });
    const call = failed(client.lookup({}));
    await until(() => peers.length === 1);
    const peer = peers[0] as RawPeer;
    await peer.frame((frame) => frame.type === FrameType.REQUEST);
    peer.send(frameBytes(1, { type: FrameType.HELLO }, Buffer.from("0801100f", "hex")));
    const pings = () => peer.frames.filter(({ type }) => type === FrameType.PING);
    for (let answered = 0; answered < 3; answered += 1) {
      await until(() => pings().length > answered);
      peer.send(frameBytes(0, { type: FrameType.PING, flags: FrameFlag.PONG }, pings()[answered]?.data));
    }
    expect(await call).toMatchObject({ code: "UNAVAILABLE", details: { reason: "CONNECTION_LOST" } });
  });
});
