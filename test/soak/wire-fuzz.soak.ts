import { setTimeout as pause } from "node:timers/promises";
import { createClient } from "@hms/kernel";
import { echoContract, echoKernel, tempFolder } from "@hms/testkit";
import { connectSocket, serveSocket } from "@hms/wire";
import { expect, test } from "vitest";
import { mutatedFrames, random } from "../../packages/wire/src/fuzz-frames.ts";
import { bytesOf, hostileFrames } from "../../packages/wire/src/hostile-frames.ts";
import { RawPeer } from "../../packages/wire/src/raw-peer.ts";

const MINUTES = Number(process.env.HMS_FUZZ_MINUTES ?? 10);
const SEED = Number(process.env.HMS_FUZZ_SEED ?? Date.now() % 0x7fff_ffff);
const PEERS = 8;
const MIB = 1 << 20;

/** One of the corpus with some bytes changed, pieces of two of them, or a mutated conversation. */
function hostile(next: (below: number) => number, corpus: readonly Buffer[]): Buffer {
  const one = corpus[next(corpus.length)] as Buffer;
  const other = corpus[next(corpus.length)] as Buffer;
  switch (next(3)) {
    case 0: {
      const bytes = Buffer.from(one);
      for (let n = 1 + next(8); n > 0; n -= 1) bytes[next(bytes.length)] = next(256);
      return bytes;
    }
    case 1:
      return Buffer.concat([one.subarray(0, next(one.length + 1)), other.subarray(next(other.length))]);
    default:
      return mutatedFrames(next);
  }
}

test(`${MINUTES} minutes of hostile frames leave a server as it was (seed ${SEED})`, async () => {
  using folder = tempFolder();
  await using server = await serveSocket(echoKernel(echoContract()), { path: `${folder.path}/a.sock`, graceMs: 0 });
  await using transport = connectSocket({ path: server.path });
  const client = createClient(echoContract(), transport);
  const corpus = hostileFrames().map(bytesOf);
  const next = random(SEED);
  let conversations = 0;
  let settledRss = 0;
  const started = performance.now();
  for (let round = 0; performance.now() - started < MINUTES * 60_000; round += 1) {
    const sent = Array.from({ length: PEERS }, () => hostile(next, corpus));
    const peers = await Promise.all(sent.map(() => RawPeer.to(server.path)));
    peers.forEach(({ socket }, n) => {
      const bytes = sent[n] as Buffer;
      for (let at = 0; at < bytes.length; ) {
        const size = 1 + next(4_000);
        socket.write(bytes.subarray(at, at + size));
        at += size;
      }
      if (next(2) === 0) socket.end();
    });
    const what = () => `round ${round}: ${sent.map((bytes) => bytes.subarray(0, 2_000).toString("hex")).join(" ")}`;
    await client.unary({ value: "a" }, { timeoutMs: 10_000 }).catch((error) => expect.fail(`${error} after ${what()}`));
    for (const { socket } of peers) socket.destroy();
    for (let waited = 0; server.connections > 1; waited += 1) {
      if (waited > 5_000) expect.fail(`${server.connections} connections are left after ${what()}`);
      await pause(1);
    }
    conversations += PEERS;
    if (round === 200) settledRss = process.memoryUsage().rss;
  }
  const grown = (process.memoryUsage().rss - settledRss) / MIB;
  console.log(`${conversations} hostile conversations; memory grew by ${grown.toFixed(1)} MiB`);
  expect(grown).toBeLessThan(150);
});
