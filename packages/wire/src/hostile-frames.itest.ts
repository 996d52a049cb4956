import { echoContract, echoKernel } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FrameFlag, FrameType } from "./frame.ts";
import { bytesOf, hostileFrames } from "./hostile-frames.ts";
import { type SocketServer, serveSocket } from "./index.ts";
import { RawPeer, type SeenFrame } from "./raw-peer.ts";
import { Stage, until } from "./registry-on-socket.ts";
import { ResponseEnvelope } from "./response-envelope.ts";

const stage = new Stage();
let server: SocketServer;
beforeAll(async () => {
  server = await serveSocket(echoKernel(echoContract()), { path: await stage.socketPath(), graceMs: 200 });
});
afterAll(async () => {
  await server.close({ graceMs: 0 });
  await stage.release();
});

/** How the streams of a connection have ended. */
function ends(frames: readonly SeenFrame[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { stream, type, flags, data } of frames) {
    if (type === FrameType.DATA && (flags & FrameFlag.REMOTE_CLOSED) !== 0) found[stream] = "OK";
    if (type !== FrameType.RESPONSE) continue;
    const envelope = new ResponseEnvelope();
    envelope.read({ stream, type, flags, bytes: data, start: 0, end: data.length });
    found[stream] = envelope.error?.code ?? "OK";
  }
  return found;
}

describe("a server that is sent", () => {
  test.each(hostileFrames())("$name", async (hostile) => {
    const peer = await RawPeer.to(server.path);
    peer.socket.write(bytesOf(hostile));
    await until(() => Object.keys(ends(peer.frames)).length === Object.keys(hostile.answers).length);
    if (hostile.closes) await until(() => peer.closed);
    else expect(peer.closed).toBe(false);
    expect(ends(peer.frames)).toEqual(hostile.answers);
    peer.socket.end();
    await until(() => server.connections === 0);
  });

  test.each(hostileFrames())("$name — byte by byte or cut anywhere, answers the same", async (hostile) => {
    const bytes = bytesOf(hostile);
    if (bytes.length > 2_000) return;
    const peer = await RawPeer.to(server.path);
    for (const byte of bytes) {
      if (!peer.closed) peer.socket.write(Buffer.from([byte]));
      if (byte % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => Object.keys(ends(peer.frames)).length === Object.keys(hostile.answers).length);
    expect(ends(peer.frames)).toEqual(hostile.answers);
    peer.socket.destroy();
    await until(() => server.connections === 0);
  });
});
