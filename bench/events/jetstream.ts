import { execFile } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { AckPolicy, jetstream, jetstreamManager, StorageType } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { freePort, startContender, versionOf } from "../support/contender.ts";
import type { ContenderFolder, EventContender } from "./contender.ts";

const DEBIAN_SERVER = "/usr/sbin/nats-server";

/** HMS_BENCH_NATS_SERVER names a newer server than the distribution's. */
const serverProgram = () => process.env.HMS_BENCH_NATS_SERVER ?? DEBIAN_SERVER;

/**
 * NATS JetStream with every write on the disk before it is answered, if the server can (from 2.10 on); null if NATS is
 * not installed.
 */
export async function openJetstream({ folder }: ContenderFolder): Promise<EventContender | null> {
  const program = serverProgram();
  if (!existsSync(program)) return null;
  const port = await freePort();
  const { config, isDurable } = await writeConfig(program, folder, port);
  const server = await startContender({ name: "nats-server", port, command: program, args: ["-c", config] });
  const connection = await connect({ servers: `127.0.0.1:${port}` });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: "bench", subjects: ["bench.>"], storage: StorageType.File });
  await manager.consumers.add("bench", {
    durable_name: "group",
    ack_policy: AckPolicy.Explicit,
    max_ack_pending: 10_000,
  });
  const stream = jetstream(connection);
  const encoder = new TextEncoder();
  return {
    name: "jetstream",
    version: `${/v([\d.]+)/.exec((await versionOf(program, ["--version"])) ?? "")?.[1]}, ${
      isDurable ? "sync_interval always" : "without sync_interval: acknowledged before it is on the disk"
    }; published asynchronously`,
    // The default, 5 s, is short for thousands in flight at one fsync each.
    publish: async (key, body) =>
      void (await stream.publish(`bench.${key}`, encoder.encode(body), { timeout: 30_000 })),
    consume: async (handle) => {
      const consumer = await stream.consumers.get("bench", "group");
      const messages = await consumer.consume({ max_messages: 1000 });
      void (async () => {
        for await (const message of messages) {
          handle(message.string());
          message.ack();
        }
      })();
    },
    [Symbol.asyncDispose]: async () => {
      await connection.close();
      await server.stop();
    },
  };
}

async function writeConfig(program: string, folder: string, port: number) {
  const config = `${folder}/nats.conf`;
  const write = (more: string) =>
    writeFileSync(config, `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${folder}/js"${more} }\n`);
  write(", sync_interval: always");
  const isDurable = await promisify(execFile)(program, ["-c", config, "-t"]).then(
    () => true,
    () => false,
  );
  if (!isDurable) write("");
  return { config, isDurable };
}
