import { existsSync } from "node:fs";
import { type Contender, freePort, startContender } from "../support/contender.ts";

const REDIS = "/usr/bin/redis-server";

/** A Redis with an append-only file that is synced every second. Null: not installed. */
export async function startRedis(folder: string): Promise<Contender | null> {
  if (!existsSync(REDIS)) return null;
  const port = await freePort();
  const settings = { port, bind: "127.0.0.1", dir: folder, appendonly: "yes", appendfsync: "everysec", save: "" };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return await startContender({ name: "redis-server", port, command: REDIS, args });
}
