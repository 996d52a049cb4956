import { type ChildProcess, spawn } from "node:child_process";
import { programPath } from "@hms/config";
import { ListenerKeeper } from "@hms/handover";

/** What an agent does for its data plane, in a process of its own that tests can kill: "start" and "retire" by message. */
const keeper = new ListenerKeeper();
let current: ChildProcess | undefined;

process.on("message", (command: string) => void obey(command));

async function obey(command: string): Promise<void> {
  const before = current;
  if (command === "start") await start();
  else before?.kill("SIGTERM");
}

async function start(): Promise<void> {
  const child = spawn(process.execPath, [programPath("dataplane")], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    detached: true,
  });
  current = child;
  await keeper.attach(child);
  keeper.confirm(child);
  process.send?.({ pid: child.pid });
}
