import { type ChildProcess, spawn } from "node:child_process";
import { HmsError } from "@hms/kernel";
import { ALREADY_RUNNING, initScript, programScript, type Sandbox, wrapperScript } from "./launch-script.ts";
import { readLaunchStatus } from "./launch-status.ts";
import { closePipes, killMarked, LaunchedProcess, openPipes } from "./launched-process.ts";
import { isAlive, signalProcess } from "./process-identity.ts";
import { prepareStateDirectory } from "./state-directory.ts";
import { waitUntil } from "./wait-until.ts";

/** Everything needed to start one program. */
export interface LaunchOptions {
  /** Belongs to this program alone; kept over its restarts. Absolute. */
  stateDirectory: string;
  /** What `ps` shows for the shells around the program. */
  label: string;
  /** Counts the starts of this program; told by LaunchedProcess.attempt after adoption. */
  attempt: number;
  /** Run by /bin/sh -c. */
  command: string;
  /** The whole environment of the program; names are shell identifiers. */
  env: Readonly<Record<string, string>>;
  workingDirectory: string;
  /** Where the launcher's own tools are found. */
  toolPath: string;
  /** Default: none; the program runs as the agent does. */
  sandbox?: Sandbox | undefined;
  /** Directories of control groups to enter; default none. */
  controlGroups?: readonly string[] | undefined;
  /** Processes and threads; default unlimited. */
  maxProcesses?: number | undefined;
}

const LAUNCH_DEADLINE_MS = 20_000;
const REPORT_LIMIT = 4096;

const markerOf = (stateDirectory: string) => `HMS_LAUNCH=${stateDirectory}`;

/**
 * Starts a program in its own session, its output on FIFOs that it holds open itself, so that it outlives this agent.
 * Answers when its surroundings are arranged and it is about to run.
 * @throws HmsError ALREADY_EXISTS if it runs already, FAILED_PRECONDITION if its surroundings cannot be arranged.
 */
export async function launchProcess(options: LaunchOptions): Promise<LaunchedProcess> {
  const { stateDirectory } = options;
  await prepareStateDirectory(stateDirectory);
  const pipes = openPipes(stateDirectory);
  try {
    await runLauncher(options);
    const status = readLaunchStatus(stateDirectory);
    if (!status) throw launchFailure(options, "the status file is not readable");
    return new LaunchedProcess({ stateDirectory, status, pipes, marker: markerOf(stateDirectory) });
  } catch (error) {
    closePipes(pipes);
    throw error;
  }
}

async function runLauncher(options: LaunchOptions): Promise<void> {
  const { stateDirectory, label, attempt, sandbox, controlGroups = [], maxProcesses } = options;
  const marker = sandbox ? {} : { HMS_LAUNCH: stateDirectory };
  const scripts = { stateDirectory, label, attempt, sandbox, controlGroups, maxProcesses };
  const program = programScript(options.command, options.workingDirectory, { ...options.env, ...marker });
  const child = spawn("/bin/sh", ["-s", label], {
    cwd: "/",
    detached: true,
    env: { PATH: options.toolPath, LANG: "C" },
    stdio: ["pipe", "pipe", "ignore", "pipe", "ignore", "ignore", "pipe"],
  });
  child.unref();
  const fed = [feed(child, 0, wrapperScript(scripts)), feed(child, 3, initScript(scripts)), feed(child, 6, program)];
  const outcome = await launchReport(child);
  if (outcome.ready) await Promise.all(fed);
  for (const pipe of child.stdio) pipe?.destroy();
  if (outcome.ready) return;
  if (outcome.code === ALREADY_RUNNING) {
    throw new HmsError("ALREADY_EXISTS", `${label} runs already; its lock is held.`, { reason: "ALREADY_RUNNING" });
  }
  await abandon(child, stateDirectory);
  throw launchFailure(options, outcome.text || `the launcher ended with ${outcome.code}`);
}

function feed(child: ChildProcess, descriptor: number, text: string): Promise<void> {
  const pipe = child.stdio[descriptor];
  return new Promise((resolve) => {
    if (!pipe || !("end" in pipe)) return resolve();
    // A launcher that ended early says why by itself.
    pipe.on("error", () => pipe.destroy());
    pipe.once("close", () => resolve());
    pipe.end(text, () => resolve());
  });
}

interface LaunchReport {
  ready: boolean;
  text: string;
  code: number | string;
}

function launchReport(child: ChildProcess): Promise<LaunchReport> {
  const { promise, resolve } = Promise.withResolvers<LaunchReport>();
  let text = "";
  const finish = (code: number | string) => {
    const ready = /(?:^|\n)ready\n/.test(text);
    resolve({ ready, text: text.trim().replaceAll(/\s*\n\s*/g, "; "), code });
  };
  const timer = setTimeout(() => finish(`no answer within ${LAUNCH_DEADLINE_MS / 1000} s`), LAUNCH_DEADLINE_MS);
  child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
    if (text.length < REPORT_LIMIT) text += chunk;
    if (text.endsWith("ready\n")) finish(0);
  });
  child.once("error", (error) => finish(error.message));
  child.once("close", (code, signal) => finish(code ?? signal ?? "nothing"));
  return promise.finally(() => clearTimeout(timer));
}

async function abandon(child: ChildProcess, stateDirectory: string): Promise<void> {
  const status = readLaunchStatus(stateDirectory);
  for (const identity of [status?.init, status?.wrapper]) if (identity) signalProcess(identity, "SIGKILL");
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  await waitUntil(() => child.exitCode !== null || child.signalCode !== null || child.pid === undefined, 5000);
}

function launchFailure(options: LaunchOptions, why: string): HmsError {
  return new HmsError("FAILED_PRECONDITION", `${options.label} could not be launched: ${why}`, {
    reason: "LAUNCH_FAILED",
  });
}

/**
 * Takes over a program that an earlier agent launched; undefined if it does not run any more (readLaunchStatus tells
 * how it ended). A launch that was cut short by the agent's death is ended first.
 */
export async function adoptProcess(stateDirectory: string): Promise<LaunchedProcess | undefined> {
  if (!readLaunchStatus(stateDirectory)) return undefined;
  // First the FIFOs, then the look: an end in between is not missed.
  const pipes = openPipes(stateDirectory);
  await waitUntil(() => {
    const status = readLaunchStatus(stateDirectory);
    return status?.init !== undefined || !isAlive(status?.wrapper);
  }, 2000);
  const status = readLaunchStatus(stateDirectory);
  const whole = status?.init !== undefined;
  if (!whole && status?.wrapper) signalProcess(status.wrapper, "SIGKILL");
  if (!status || !whole || !(isAlive(status.init) || isAlive(status.wrapper))) {
    closePipes(pipes);
    if (!status?.contained) await killMarked(markerOf(stateDirectory));
    return undefined;
  }
  return new LaunchedProcess({ stateDirectory, status, pipes, marker: markerOf(stateDirectory) });
}
