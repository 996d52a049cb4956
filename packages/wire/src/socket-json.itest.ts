import { createClient, HmsError } from "@hms/kernel";
import { echoContract, echoKernel } from "@hms/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { FrameFlag, FrameType } from "./frame.ts";
import { connectSocket, serveSocket } from "./index.ts";
import { frameBytes, RawPeer } from "./raw-peer.ts";
import { Stage, until } from "./registry-on-socket.ts";
import { requestPrefix } from "./request-envelope.ts";
import { ResponseEnvelope } from "./response-envelope.ts";

const stage = new Stage();
afterEach(() => stage.release());
const contract = echoContract();

async function served() {
  const path = await stage.socketPath();
  const server = await serveSocket(echoKernel(contract), { path, graceMs: 200 });
  stage.defer(() => server.close({ graceMs: 0 }));
  return path;
}

async function* each(...values: string[]) {
  for (const value of values) yield { value };
}

async function texts(messages: AsyncIterable<{ value: string }>) {
  const seen: string[] = [];
  for await (const { value } of messages) seen.push(value);
  return seen;
}

/** A Request whose codec comes last. */
function request(method: string, payload: string, codec = 1): Buffer {
  const message = Buffer.from(payload);
  return Buffer.concat([
    requestPrefix(contract.typeName, method),
    Buffer.from([0x1a, message.length]),
    message,
    Buffer.from([0x80, 0x01, codec]),
  ]);
}

function answerIn(data: Buffer) {
  const envelope = new ResponseEnvelope();
  envelope.read({ type: FrameType.RESPONSE, flags: 0, stream: 1, bytes: data, start: 0, end: data.length });
  return { error: envelope.error, text: Buffer.from(envelope.payload).toString() };
}

describe("calls in JSON", () => {
  test("go all four ways, and fail as others do", async () => {
    const transport = connectSocket({ path: await served(), codec: "json" });
    stage.defer(() => transport.close());
    const client = createClient(contract, transport);
    expect((await client.unary({ value: "ä" })).value).toMatch(/^ä id=/);
    expect(await texts(client.serverStream({ value: "a,b" }))).toEqual(["a", "b"]);
    expect((await client.clientStream(each("a", "", "c"))).value).toBe("a++c");
    expect(await texts(client.bidi(each("a", "")))).toEqual(["re: a", "re: "]);
    await expect(client.unary({ value: "fail" })).rejects.toEqual(new HmsError("NOT_FOUND", "asked to fail"));
  });

  test("carry JSON in requests, answers and Data frames, and nothing else", async () => {
    const peer = await RawPeer.to(await served());
    stage.defer(() => peer.socket.destroy());
    peer.send(
      frameBytes(1, { type: FrameType.REQUEST }, request("Unary", '"a"')),
      frameBytes(3, { type: FrameType.REQUEST, flags: FrameFlag.REMOTE_CLOSED }, request("ServerStream", '"a,b"')),
      frameBytes(5, { type: FrameType.REQUEST, flags: FrameFlag.REMOTE_OPEN }, request("ClientStream", "")),
      frameBytes(5, { type: FrameType.DATA }, Buffer.from('"x"')),
      frameBytes(5, { type: FrameType.DATA, flags: 5 }),
    );
    const unary = await peer.frame(({ stream, type }) => stream === 1 && type === FrameType.RESPONSE);
    expect(JSON.parse(answerIn(unary.data).text)).toMatch(/^a id=/);
    const single = await peer.frame(({ stream, type }) => stream === 5 && type === FrameType.RESPONSE);
    expect(answerIn(single.data).text).toBe('"x"');
    await until(() => peer.frames.filter(({ stream }) => stream === 3).length === 3);
    const data = peer.frames.filter(({ stream, flags }) => stream === 3 && flags === 0).map((frame) => `${frame.data}`);
    expect(data).toEqual(['"a"', '"b"']);
  });

  test("that cannot be read are answered each on its own, and the connection goes on", async () => {
    const peer = await RawPeer.to(await served());
    stage.defer(() => peer.socket.destroy());
    peer.send(
      frameBytes(1, { type: FrameType.REQUEST }, request("Unary", "{")),
      frameBytes(3, { type: FrameType.REQUEST }, request("Unary", "7")),
      frameBytes(5, { type: FrameType.REQUEST }, request("Unary", '"a"', 9)),
      frameBytes(7, { type: FrameType.REQUEST, flags: FrameFlag.REMOTE_OPEN }, request("ClientStream", "")),
      frameBytes(7, { type: FrameType.DATA }, Buffer.from("[".repeat(1 << 20))),
      frameBytes(9, { type: FrameType.REQUEST }, request("Unary", '"a"')),
    );
    for (const stream of [1, 3, 5, 7]) {
      const { data } = await peer.frame((frame) => frame.stream === stream && frame.type === FrameType.RESPONSE);
      expect(answerIn(data).error?.code).toBe("INVALID_ARGUMENT");
    }
    const { data } = await peer.frame((frame) => frame.stream === 9);
    expect(answerIn(data).error).toBeUndefined();
  });
});
