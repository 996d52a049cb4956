import { existsSync, mkdirSync } from "node:fs";
import { fromJson, type JsonValue, type Message, toJson } from "@bufbuild/protobuf";
import { hostEnvironment, resolveInstance } from "@hms/config";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { openReplicaKeeper, probeIsolation } from "../../src/index.ts";

/** A keeper in a process of its own, driven by messages, so that tests can kill it and run it as another user. */
const [data = "", portBase = "0", optionsText = "{}"] = process.argv.slice(2);
const host = hostEnvironment();
const paths = resolveInstance({ data }, host);
for (const directory of [paths.data, paths.run, paths.config]) {
  if (!existsSync(directory)) mkdirSync(directory, { recursive: true, mode: 0o700 });
}
const network = {
  gatewayPort: 0,
  tlsPort: 0,
  proxyPort: 0,
  metricsPort: 0,
  vipPrefix: "127.88",
  replicaPortBase: Number(portBase),
};
const probed = await probeIsolation(paths, host);
const options = JSON.parse(optionsText) as { report?: object };
const report = { ...probed, ...options.report };
const warn = (message: string) => void process.send?.({ warning: message });
const keeper = await openReplicaKeeper({ paths, network, host, warn, ...options, report });
const running = new Map<number, AbortController>();

type Call = { id: number; method: string; request: JsonValue; cancel?: boolean };
type Answer = Message | AsyncIterable<Message>;

process.on("message", (call: Call) => void answer(call));
process.on("disconnect", () => process.exit(0));
process.send?.({ ready: report });

async function answer({ id, method, request, cancel }: Call): Promise<void> {
  if (cancel) return running.get(id)?.abort();
  const controller = new AbortController();
  running.set(id, controller);
  try {
    if (method === "suspend" || method === "detach") await keeper[method]();
    else if (method === "memory")
      process.send?.({ id, message: { rss: process.memoryUsage().rss, cpu: process.cpuUsage() } });
    else await invoke(id, method, { request, signal: controller.signal });
    process.send?.({ id, done: true });
  } catch (error) {
    const { code, message, details, cause } = HmsError.from(error);
    process.send?.({ id, error: { code, message, details, cause: String(cause ?? "") } });
  } finally {
    running.delete(id);
  }
}

async function invoke(id: number, name: string, call: { request: JsonValue; signal: AbortSignal }): Promise<void> {
  const method = agent.AgentService.method[name as "startReplica"];
  const handlers = keeper as unknown as Record<string, (request: Message, signal: AbortSignal) => Answer>;
  const result = await handlers[name]?.(fromJson(method.input, call.request), call.signal);
  if (!result) throw new Error(`no such method: ${name}`);
  const messages = Symbol.asyncIterator in result ? result : [result];
  for await (const message of messages as AsyncIterable<Message>) {
    await new Promise<void>((sent) => {
      const text = toJson(method.output, message as never);
      process.send?.({ id, message: text }, undefined, {}, () => sent());
    });
  }
}
