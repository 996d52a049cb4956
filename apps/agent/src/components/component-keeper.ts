import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import { identityOf, isAlive, type ProcessIdentity, signalProcess } from "../launcher/process-identity.ts";
import { readProcess } from "../launcher/process-table.ts";
import { cutLog, openComponentLog } from "./component-log.ts";
import { type ComponentNote, dropNote, readNote, writeNote } from "./component-note.ts";
import type { ComponentSpec } from "./component-spec.ts";

const { ReplicaState } = agent;

/** Where a keeper keeps its notes and logs. */
export interface KeeperSurroundings {
  noteFile: string;
  logFile: string;
  log: Logger;
}

/** An adopted process is looked at this often; a child tells of its end itself. */
const LOOK_MS = 100;
const LOG_CUT_MS = 60_000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5_000;
/** A process that lived this long was well: the next pause is the first one again. */
const GOOD_LIFE_MS = 10_000;
const READY_PATIENCE_MS = 60_000;

/** Keeps one of the platform's own processes running: adopts it, starts it, starts it again when it ends. */
export class ComponentKeeper {
  readonly spec: ComponentSpec;
  readonly #around: KeeperSurroundings;
  #identity: ProcessIdentity | undefined;
  #startedAt = new Date(0);
  #restarts = 0;
  #quickDeaths = 0;
  #lastError = "";
  #state: agent.ReplicaState = ReplicaState.STARTING;
  #wanted = false;
  #running: Promise<void> | undefined;
  #endOfWait = new AbortController();
  readonly #logTimer: NodeJS.Timeout;

  constructor(spec: ComponentSpec, around: KeeperSurroundings) {
    this.spec = spec;
    this.#around = around;
    this.#logTimer = setInterval(() => cutLog(around.logFile), LOG_CUT_MS).unref();
  }

  /** Begins to keep it; resolves when it is ready for the first time. */
  async start(): Promise<void> {
    this.#wanted = true;
    this.#running = this.#keep();
    this.#running.catch((error) => this.#around.log.error("a component can no longer be kept", { error }));
    await this.#untilReady();
  }

  /** @throws HmsError UNAVAILABLE if it does not become ready within 60 s. */
  async #untilReady(): Promise<void> {
    const until = performance.now() + READY_PATIENCE_MS;
    while (performance.now() < until && this.#wanted) {
      if (this.#identity && isAlive(this.#identity) && (await this.spec.isReady())) {
        this.#state = ReplicaState.RUNNING;
        this.#lastError = "";
        return;
      }
      await delay(15);
    }
    throw new HmsError("UNAVAILABLE", `${this.spec.name} did not become ready; its log: ${this.#around.logFile}`);
  }

  async #keep(): Promise<void> {
    while (this.#wanted) {
      const began = performance.now();
      try {
        await this.#oneLife();
      } catch (error) {
        this.#lastError = HmsError.from(error).message;
        this.#around.log.error(`${this.spec.name} could not be started`, { error });
      }
      if (!this.#wanted) return;
      this.#quickDeaths = performance.now() - began < GOOD_LIFE_MS ? this.#quickDeaths + 1 : 0;
      this.#state = ReplicaState.BACKING_OFF;
      this.#restarts += 1;
      const pause = this.#quickDeaths <= 1 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** this.#quickDeaths, LONGEST_PAUSE_MS);
      this.#around.log.warn(`${this.spec.name} ended; starting it again`, { inMs: pause });
      await delay(pause, undefined, { signal: this.#endOfWait.signal }).catch(() => {});
    }
  }

  /** From start or adoption to the end of the process. */
  async #oneLife(): Promise<void> {
    const found = this.#adoptable();
    if (found) {
      this.#identity = found.identity;
      this.#startedAt = new Date(found.startedAt);
      this.#restarts = found.restarts;
      this.#around.log.info(`${this.spec.name} adopted`, { pid: found.identity.pid });
      this.#note();
      while (isAlive(this.#identity)) await delay(LOOK_MS);
      return;
    }
    this.#state = ReplicaState.STARTING;
    await this.spec.prepare?.();
    await this.#spawned(this.#spawn());
  }

  #adoptable(): ComponentNote | undefined {
    const note = readNote(this.#around.noteFile);
    if (note && isAlive(note.identity)) return note;
    const running = this.spec.running?.();
    if (running === undefined || !isAlive(running)) return undefined;
    return { identity: running, startedAt: new Date().toISOString(), restarts: this.#restarts };
  }

  #spawn(): ChildProcess {
    const { argv, env, cwd } = this.spec.command();
    const [program = "", ...args] = argv;
    const output = openComponentLog(this.#around.logFile);
    try {
      return spawn(program, args, { cwd, env, detached: true, stdio: ["ignore", output, output] });
    } finally {
      closeSync(output);
    }
  }

  async #spawned(child: ChildProcess): Promise<void> {
    const ended = new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code, signal) => {
        this.#around.log.info(`${this.spec.name} exited`, { code, signal });
        resolve();
      });
    });
    const entry = child.pid === undefined ? undefined : readProcess(child.pid);
    if (entry) {
      this.#identity = identityOf(entry);
      this.#startedAt = new Date();
      this.#note();
    }
    void this.#untilReady().catch(() => {});
    await ended;
  }

  #note(): void {
    if (!this.#identity) return;
    const note = { identity: this.#identity, startedAt: this.#startedAt.toISOString(), restarts: this.#restarts };
    try {
      writeNote(this.#around.noteFile, note);
    } catch (error) {
      this.#around.log.error(`${this.spec.name} runs, but cannot be noted for adoption`, { error });
    }
  }

  /** Ends it: the stop signal, the grace period, SIGKILL. Resolves when it has gone. */
  async stop(): Promise<void> {
    this.#wanted = false;
    this.#state = ReplicaState.STOPPING;
    this.#endOfWait.abort();
    clearInterval(this.#logTimer);
    await this.#end();
    await this.#running;
    dropNote(this.#around.noteFile);
    this.#state = ReplicaState.STOPPED;
  }

  /** Ends it and waits until its successor is ready. */
  async restart(): Promise<void> {
    this.#quickDeaths = 0;
    const before = this.#identity;
    await this.#end();
    const until = performance.now() + READY_PATIENCE_MS;
    while (this.#identity === before && performance.now() < until) await delay(10);
    await this.#untilReady();
  }

  async #end(): Promise<void> {
    const identity = this.#identity;
    if (!identity) return;
    signalProcess(identity, this.spec.stopSignal);
    const until = performance.now() + this.spec.stopGraceMs;
    while (isAlive(identity)) {
      if (performance.now() > until) signalProcess(identity, "SIGKILL");
      await delay(10);
    }
  }

  /** The component as it is now. */
  describe(): Pick<agent.Component, "name" | "state" | "pid" | "restarts" | "memoryBytes" | "lastError" | "startedAt"> {
    const entry = this.#identity ? readProcess(this.#identity.pid) : undefined;
    const alive = entry !== undefined && isAlive(this.#identity);
    return {
      name: this.spec.name,
      state: alive || this.#state !== ReplicaState.RUNNING ? this.#state : ReplicaState.BACKING_OFF,
      pid: BigInt(alive ? entry.pid : 0),
      startedAt: timestampFromDate(this.#startedAt),
      lastError: this.#lastError,
      restarts: this.#restarts,
      memoryBytes: BigInt(alive ? entry.residentBytes : 0),
    };
  }
}
