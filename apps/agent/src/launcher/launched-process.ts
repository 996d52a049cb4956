import { readFileSync } from "node:fs";
import { Fifo } from "./fifo.ts";
import { type LaunchStatus, type ProcessEnd, readLaunchStatus } from "./launch-status.ts";
import { identityOf, isAlive, type ProcessIdentity, signalProcess } from "./process-identity.ts";
import { descendants, listProcesses, type ProcessEntry, readProcess } from "./process-table.ts";
import { waitUntil } from "./wait-until.ts";

/** The agent's ends of a launch's FIFOs. */
export interface LaunchPipes {
  out: Fifo;
  err: Fifo;
  life: Fifo;
}

/** Opens the agent's ends; do it before the launch, or before looking whether an adopted process lives. */
export function openPipes(stateDirectory: string): LaunchPipes {
  const open = (name: string) => new Fifo(`${stateDirectory}/${name}`);
  return { out: open("out"), err: open("err"), life: open("life") };
}

/** Lets go of the FIFOs; the process goes on. */
export function closePipes(pipes: LaunchPipes): void {
  for (const pipe of [pipes.out, pipes.err, pipes.life]) pipe.close();
}

/** What a running process is made of. */
export interface LaunchedProcessParts {
  stateDirectory: string;
  status: LaunchStatus;
  pipes: LaunchPipes;
  /** Marks the environment of what an uncontained process starts: "HMS_LAUNCH=…". */
  marker: string;
}

/** The longest that a tree of processes may resist SIGKILL; only a process stuck in the kernel does. */
const KILL_DEADLINE_MS = 30_000;
const LIFE_POLL_MS = 10;

/** One running program with all it started, whether this agent launched it or an earlier one. */
export class LaunchedProcess {
  readonly stateDirectory: string;
  /** Resolves when nothing of it is left. */
  readonly ended: Promise<ProcessEnd>;
  readonly #parts: LaunchedProcessParts;
  #main: ProcessIdentity | undefined;
  #killed = false;
  #detached = false;

  constructor(parts: LaunchedProcessParts) {
    this.#parts = parts;
    this.stateDirectory = parts.stateDirectory;
    this.ended = this.#watchLife();
  }

  /** What the program writes to its standard output; waits there until it is read. */
  get stdout(): Fifo {
    return this.#parts.pipes.out;
  }

  /** What the program writes to its standard error; waits there until it is read. */
  get stderr(): Fifo {
    return this.#parts.pipes.err;
  }

  /** The number of this launch, as given to launchProcess. */
  get attempt(): number {
    return this.#parts.status.attempt;
  }

  /** The program's own process; undefined for an instant after the launch and after its end. */
  get main(): ProcessIdentity | undefined {
    const { init } = this.#parts.status;
    if (this.#main || !init) return this.#main;
    const entry = childrenOf(init.pid)
      .map((pid) => readProcess(pid))
      .find((found) => found?.parentPid === init.pid);
    if (entry) this.#main = identityOf(entry);
    return this.#main;
  }

  /** Waits until the program's own process is there; undefined if it ended at once. */
  async waitForMain(): Promise<ProcessIdentity | undefined> {
    await waitUntil(() => this.main ?? !isAlive(this.#parts.status.init), 2000);
    return this.main;
  }

  /** The processes of the list that belong to it: the program and everything it started. */
  members(list: readonly ProcessEntry[]): ProcessEntry[] {
    const { init } = this.#parts.status;
    const roots = new Set(init ? [init.pid] : []);
    const main = this.main;
    const own = main ? list.filter((entry) => entry.sessionId === main.pid).map((entry) => entry.pid) : [];
    if (!this.#parts.status.contained) for (const pid of own) roots.add(pid);
    return descendants(list, roots).filter((entry) => entry.pid !== init?.pid && !entry.zombie);
  }

  /** Signals the program and its process group; false if it has ended. */
  signal(signal: NodeJS.Signals): boolean {
    const main = this.main;
    if (!main || !isAlive(main)) return false;
    try {
      return process.kill(-main.pid, signal);
    } catch {
      // Not yet, or no longer, the leader of a group.
      return signalProcess(main, signal);
    }
  }

  /** Asks with a signal, waits for the grace period, then kills everything it started. Answers when nothing is left. */
  async stop(graceMs: number, signal: NodeJS.Signals = "SIGTERM"): Promise<ProcessEnd> {
    if (graceMs > 0 && (await this.waitForMain()) && this.signal(signal)) {
      const timer = Promise.withResolvers<undefined>();
      const handle = setTimeout(() => timer.resolve(undefined), graceMs);
      const end = await Promise.race([this.ended, timer.promise]);
      clearTimeout(handle);
      if (end) return end;
    }
    await this.kill();
    return this.ended;
  }

  /** Kills everything it started, at once. */
  async kill(): Promise<void> {
    this.#killed = true;
    const { init, wrapper } = this.#parts.status;
    if (this.#parts.status.contained && init) signalProcess(init, "SIGKILL");
    else if (!init && wrapper) signalProcess(wrapper, "SIGKILL");
    else await this.#killUncontained();
  }

  /** Stops looking at the process without touching it; another agent may adopt it. */
  detach(): void {
    this.#detached = true;
    closePipes(this.#parts.pipes);
  }

  async #watchLife(): Promise<ProcessEnd> {
    const life = this.#parts.pipes.life.stream();
    const { status } = this.#parts;
    const gone = () => !isAlive(status.init) && !isAlive(status.wrapper);
    life.resume();
    await new Promise<void>((resolve) => life.once("close", () => resolve()));
    // Whoever adopts it waits for its end.
    if (this.#detached) return new Promise(() => {});
    // The end of the FIFO may arrive a moment before the end of the process.
    await waitUntil(gone, Number.POSITIVE_INFINITY, LIFE_POLL_MS);
    if (!status.contained) await this.#killUncontained();
    const written = readLaunchStatus(this.stateDirectory);
    const end = written?.attempt === status.attempt ? written.end : undefined;
    return end ?? { code: -1, signal: "SIGKILL", at: new Date() };
  }

  async #killUncontained(): Promise<void> {
    await waitUntil(
      () => {
        // The program first: it could take the end of its children for its own work done.
        if (this.#killed) this.signal("SIGKILL");
        const left = this.#uncontained();
        for (const entry of left) signalProcess(identityOf(entry), "SIGKILL");
        return left.length === 0;
      },
      KILL_DEADLINE_MS,
      20,
    );
  }

  #uncontained(): ProcessEntry[] {
    const list = listProcesses().filter((entry) => !entry.zombie && entry.pid !== process.pid);
    const session = this.#main?.pid;
    const roots = list.filter((entry) => entry.sessionId === session || carriesMarker(entry.pid, this.#parts.marker));
    const pids = new Set(roots.map((entry) => entry.pid));
    const { init } = this.#parts.status;
    if (this.#killed && init) pids.add(init.pid);
    // The init stays until the program has ended, to write down how.
    return descendants(list, pids).filter((entry) => entry.pid !== init?.pid);
  }
}

function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1");
    return text.split(" ").flatMap((word) => (word ? [Number(word)] : []));
  } catch {
    return listProcesses().flatMap((entry) => (entry.parentPid === pid ? [entry.pid] : []));
  }
}

/** Kills what an uncontained program left behind, wherever it went; found by the mark in its environment. */
export async function killMarked(marker: string): Promise<void> {
  await waitUntil(
    () => {
      const left = listProcesses().filter((entry) => !entry.zombie && carriesMarker(entry.pid, marker));
      for (const entry of left) signalProcess(identityOf(entry), "SIGKILL");
      return left.length === 0;
    },
    KILL_DEADLINE_MS,
    20,
  );
}

function carriesMarker(pid: number, marker: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(marker);
  } catch {
    // Another user's, or no /proc: found by its session instead.
    return false;
  }
}
