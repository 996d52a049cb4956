import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { InstanceNetwork } from "@hms/config";
import { waitFor } from "@hms/testkit";
import { keepPlace, leavePlace } from "./places.ts";
import { copyStartedBefore } from "./started-before.ts";

const root = resolve(import.meta.dirname, "../..");

/** The command line of this checkout. */
export const hmsSys = join(root, "hms-sys");

/** What a command line left behind. */
export interface CommandResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** A whole installation of its own, as a user starts it. */
export interface Platform extends AsyncDisposable {
  readonly instance: string;
  readonly data: string;
  readonly network: InstanceNetwork;
  /** What a command of this installation needs in its environment. */
  readonly env: NodeJS.ProcessEnv;
  /** Runs `hms-sys ARGS` against it. */
  cli(...args: string[]): Promise<CommandResult>;
  /** Runs `hms-sys ARGS -o json` and parses what it prints; throws unless it exits 0. */
  json<T>(...args: string[]): Promise<T>;
  /** The pid of one of the platform's own processes. */
  pidOf(component: string): Promise<number>;
  /** Writes a manifest and its files into a folder of their own and answers with the manifest's path. */
  service(name: string, manifest: string, files?: Record<string, string>): string;
  /** A URL at the gateway. */
  url(path: string): string;
  /** Starts it again after it has been stopped or killed. */
  start(): Promise<void>;
  /** Ends it as Ctrl-C does. */
  stop(): Promise<number>;
  /** What `up` has said so far. */
  readonly said: string;
  /** The process of `up`. */
  readonly up: ChildProcess;
}

/** How an installation is started. */
export interface PlatformOptions {
  /** Further arguments of `up`. */
  args?: string[];
  env?: Record<string, string>;
  /** Where data and keys go; default a new folder, with those of an installation that was started before. */
  home?: string;
  /** Runs it and every command as this user, who then owns `home`; default the one who runs the test. */
  user?: { uid: number; gid: number };
  /** The `hms-sys` that is run; default the checkout's. */
  program?: string;
  /** What starts it instead of `hms-sys up ARGS`; SIGINT must end it as Ctrl-C does. */
  starter?: readonly string[];
}

/** Starts an installation beside all others and waits until it is ready; disposing it leaves nothing behind. */
export async function startPlatform(options: PlatformOptions = {}): Promise<Platform> {
  const home = options.home ?? mkdtempSync(join(tmpdir(), "hms-"));
  const { user, program = hmsSys } = options;
  const [starter = "", ...words] = options.starter ?? [program, "up", ...(options.args ?? [])];
  if (user) chownSync(home, user.uid, user.gid);
  const instance = `t${randomBytes(4).toString("hex")}`;
  const data = join(home, "d");
  const env = {
    ...process.env,
    XDG_CONFIG_HOME: join(home, "c"),
    HMS_INSTANCE: instance,
    HMS_DATA: data,
    ...options.env,
  };
  let up: ChildProcess | undefined;
  let said = "";

  const cli = (...args: string[]) => runCommand([program, ...args], env, user);
  const platform: Platform = {
    instance,
    data,
    env,
    cli,
    get network() {
      return JSON.parse(readFileSync(join(data, "network.json"), "utf8")) as InstanceNetwork;
    },
    get said() {
      return said;
    },
    get up() {
      if (up === undefined) throw new Error("not started");
      return up;
    },
    async json(...args) {
      const { code, stdout, stderr } = await cli(...args, "-o", "json");
      if (code !== 0) throw new Error(`hms-sys ${args.join(" ")} exited ${code}: ${stdout}${stderr}`);
      return JSON.parse(stdout);
    },
    async pidOf(component) {
      const status = await platform.json<{ components: { name: string; pid: string }[] }>("status");
      return Number(status.components.find(({ name }) => name === component)?.pid ?? 0);
    },
    service(name, manifest, files = {}) {
      const folder = join(home, "src", name);
      mkdirSync(folder, { recursive: true });
      for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
      const path = join(folder, `${name}.hms.yml`);
      writeFileSync(path, manifest);
      return path;
    },
    url: (path) => `http://127.0.0.1:${platform.network.gatewayPort}${path}`,
    async start() {
      said = "";
      up = spawn(starter, words, { ...user, env, stdio: ["ignore", "pipe", "pipe"] });
      const hear = (text: Buffer) => {
        said += text;
      };
      up.stdout?.on("data", hear);
      up.stderr?.on("data", hear);
      await waitFor(() => said.includes("Ctrl-C stops everything") || up?.exitCode !== null, {
        deadlineMs: 90_000,
        describe: () => `the platform is ready; it said: ${said}`,
      });
      if (up.exitCode !== null) throw new Error(`up exited ${up.exitCode}: ${said}`);
      keepPlace(instance, platform.network);
    },
    async stop() {
      const child = platform.up;
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? -1;
      const ended = new Promise<number>((done) => child.once("exit", (code) => done(code ?? -1)));
      child.kill("SIGINT");
      return ended;
    },
    async [Symbol.asyncDispose]() {
      await platform.stop();
      await cli("down");
      leavePlace(instance);
      rmSync(home, { recursive: true, force: true });
    },
  };
  if (isLikeOthers(options)) await copyStartedBefore(home, instance, hmsSys);
  try {
    await platform.start();
  } catch (error) {
    await platform[Symbol.asyncDispose]();
    throw error;
  }
  return platform;
}

/** Whether nothing is special about how it is started: only then it may begin as a copy. */
function isLikeOthers({ home, env = {}, user, program, starter }: PlatformOptions): boolean {
  return [home, user, program, starter, env.DATABASE_URL].every((each) => each === undefined);
}

/** Runs a command to its end. */
export function runCommand(
  [program = "", ...args]: string[],
  env: NodeJS.ProcessEnv,
  options: Pick<SpawnOptions, "uid" | "gid" | "cwd"> = {},
): Promise<CommandResult> {
  return new Promise((done, reject) => {
    const child = spawn(program, args, { ...options, env, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (text) => {
      stdout += text;
    });
    child.stderr.on("data", (text) => {
      stderr += text;
    });
    child.once("error", reject);
    child.once("close", (code) => done({ code: code ?? -1, stdout, stderr }));
  });
}
