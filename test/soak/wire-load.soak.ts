import { fork } from "node:child_process";
import { once } from "node:events";
import { createClient } from "@hms/kernel";
import { echoContract, tempFolder, waitFor } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RawPeer } from "../../packages/wire/src/raw-peer.ts";

const IDLE = 5_000;
const GIB = 1 << 30;
const MIB = 1 << 20;
const CHUNK = "x".repeat(MIB / 2);

const folder = tempFolder();
const path = `${folder.path}/a.sock`;
const server = fork(new URL("wire-load-server.ts", import.meta.url), [path], { execArgv: ["--expose-gc"] });
const transport = connectSocket({ path });
const client = createClient(echoContract(), transport);

beforeAll(() => once(server, "message"));
afterAll(async () => {
  await transport.close();
  server.disconnect();
  folder[Symbol.dispose]();
});

/** What the server process says of itself after it has tidied up. */
async function serverState(): Promise<{ rss: number; connections: number }> {
  server.send({});
  const [state] = await once(server, "message");
  return state as { rss: number; connections: number };
}

const serverRss = async () => (await serverState()).rss;

/** Median time of a call, microseconds. */
async function medianUs(calls = 3_000): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < calls; n += 1) {
    const started = performance.now();
    await client.unary({ value: "a" });
    times.push((performance.now() - started) * 1_000);
  }
  return times.sort((a, b) => a - b)[calls >> 1] as number;
}

describe(`${IDLE} idle connections`, () => {
  test("cost little memory and do not slow the others down", async () => {
    await medianUs();
    const alone = await medianUs();
    const before = await serverRss();
    const idle: RawPeer[] = [];
    // A queue of new connections that is full says so; the server is only slow to take them.
    const peer = () => waitFor(() => RawPeer.to(path), { describe: "a connection", deadlineMs: 60_000 });
    while (idle.length < IDLE) idle.push(...(await Promise.all(Array.from({ length: 50 }, peer))));
    await waitFor(async () => (await serverState()).connections > IDLE, { describe: "the server to take them all" });
    const each = ((await serverRss()) - before) / IDLE;
    const among = await medianUs();
    for (const { socket } of idle) socket.destroy();
    console.log(
      `${Math.round(each / 1024)} KiB each; p50 ${alone.toFixed(0)} µs alone, ${among.toFixed(0)} µs among them`,
    );
    expect(each).toBeLessThan(32 * 1024);
    expect(among).toBeLessThan(alone * 2 + 50);
  });
});

describe("1 GiB in one stream", () => {
  test.each(["down", "up"])("goes %s with flat memory on both sides", async (direction) => {
    const total = GIB / CHUNK.length;
    let mostHere = 0;
    let mostThere = 0;
    const here = process.memoryUsage().rss;
    const there = await serverRss();
    const look = async () => {
      mostHere = Math.max(mostHere, process.memoryUsage().rss - here);
      mostThere = Math.max(mostThere, (await serverRss()) - there);
    };
    const started = performance.now();
    let seen = 0;
    if (direction === "down") {
      for await (const { value } of client.serverStream({ value: String(total) })) {
        seen += value.length;
        if (seen % (64 * MIB) === 0) await look();
      }
    } else {
      async function* flood() {
        for (let n = 0; n < total; n += 1) {
          if (n % 128 === 0) await look();
          yield { value: CHUNK };
        }
      }
      seen = Number((await client.clientStream(flood())).value);
    }
    const seconds = (performance.now() - started) / 1_000;
    expect(seen).toBe(GIB);
    const grown = `${Math.round(mostHere / MIB)} MiB here, ${Math.round(mostThere / MIB)} MiB there`;
    console.log(`${direction}: ${Math.round(1024 / seconds)} MiB/s, memory grew by at most ${grown}`);
    expect(mostHere / MIB).toBeLessThan(128);
    expect(mostThere / MIB).toBeLessThan(128);
  });
});
