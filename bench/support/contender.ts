import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { connect, createServer } from "node:net";
import { promisify } from "node:util";

/** A program under measurement, listening. */
export interface Contender {
  name: string;
  port: number;
  pid: number;
  stop(): Promise<void>;
}

/** How a contender is started. */
export interface ContenderCommand {
  name: string;
  port: number;
  command: string;
  args: readonly string[];
  env?: Record<string, string>;
  /** How long it may take until its port answers; default 30 s. */
  readyMs?: number;
}

const READY_MS = 30_000;

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("A listening server has no port.");
  return address.port;
}

/** Starts a contender and waits until its port answers; its output is shown if that takes too long. */
export async function startContender(input: ContenderCommand): Promise<Contender> {
  const { name, port, command, args, env, readyMs = READY_MS } = input;
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  const deadline = Date.now() + readyMs;
  while (!(await answers(port))) {
    if (Date.now() > deadline || child.exitCode !== null) {
      await stopChild(child);
      throw new Error(`${name} did not start listening on ${port}:\n${output}`);
    }
  }
  return { name, port, pid: child.pid as number, stop: () => stopChild(child) };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => setTimeout(resolve, 20, false));
  });
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const hard = setTimeout(() => child.kill("SIGKILL"), 2000);
  await exited;
  clearTimeout(hard);
}

/** The first line of what a program says of its version, or null if the program is not installed. */
export async function versionOf(program: string, args: readonly string[]): Promise<string | null> {
  if (!existsSync(program)) return null;
  const { stdout, stderr } = await promisify(execFile)(program, args);
  return (stdout.trim() || stderr.trim()).split("\n")[0] ?? "";
}
