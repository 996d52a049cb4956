import { Redis } from "ioredis";
import { freePort, startContender, versionOf } from "../support/contender.ts";
import type { ContenderFolder, EventContender } from "./contender.ts";

const SERVER = "/usr/bin/redis-server";
const BATCH = 1000;

/** Redis Streams with every write on the disk before it is answered; null if Redis is not installed. */
export async function openRedisStreams({ folder }: ContenderFolder): Promise<EventContender | null> {
  const version = await versionOf(SERVER, ["--version"]);
  if (version === null) return null;
  const port = await freePort();
  const settings = { port, bind: "127.0.0.1", dir: folder, appendonly: "yes", appendfsync: "always", save: "" };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const server = await startContender({ name: "redis-server", port, command: SERVER, args });
  // Commands of one turn of the event loop travel together, as the client's documentation advises for throughput.
  const publisher = new Redis({ port, host: "127.0.0.1", enableAutoPipelining: true });
  const consumer = new Redis({ port, host: "127.0.0.1" });
  await consumer.xgroup("CREATE", "bench", "group", "$", "MKSTREAM");
  let isOpen = true;
  let reading: Promise<void> = Promise.resolve();
  return {
    name: "redis_streams",
    version: `${/v=([\d.]+)/.exec(version)?.[1]}, appendonly yes, appendfsync always; ioredis with automatic pipelining`,
    publish: async (key, body) => void (await publisher.xadd("bench", "*", "key", key, "body", body)),
    consume: async (handle) => {
      reading = read(consumer, handle, () => isOpen);
    },
    [Symbol.asyncDispose]: async () => {
      isOpen = false;
      await reading;
      publisher.disconnect();
      consumer.disconnect();
      await server.stop();
    },
  };
}

type Reply = [string, [string, string[]][]][] | null;

async function read(redis: Redis, handle: (body: string) => void, isOpen: () => boolean): Promise<void> {
  while (isOpen()) {
    const reply = (await redis.xreadgroup(
      ...(["GROUP", "group", "one", "COUNT", BATCH, "BLOCK", 200, "STREAMS", "bench", ">"] as unknown as Parameters<
        Redis["xreadgroup"]
      >),
    )) as Reply;
    const entries = reply?.[0]?.[1] ?? [];
    for (const [, fields] of entries) handle(fields[3] ?? "");
    if (entries.length > 0) await redis.xack("bench", "group", ...entries.map(([id]) => id));
  }
}
