import { setTimeout as delay } from "node:timers/promises";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import { readProcess } from "../launcher/process-table.ts";
import { orAborted } from "../or-aborted.ts";
import { ComponentLife, launchLife } from "./component-life.ts";
import { cutLog, lastWords } from "./component-log.ts";
import { dropNote, readNote, writeNote } from "./component-note.ts";
import type { ComponentSpec } from "./component-spec.ts";

const { ReplicaState } = agent;

/** Where a keeper keeps its notes and logs. */
export interface KeeperSurroundings {
  noteFile: string;
  logFile: string;
  log: Logger;
}

/** A component as the agent reports it. */
export type ComponentReport = Pick<
  agent.Component,
  "name" | "state" | "pid" | "restarts" | "memoryBytes" | "lastError" | "startedAt"
>;

const LOG_CUT_MS = 60_000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5_000;
/** A process that lived this long was well: its successor starts at once. */
const GOOD_LIFE_MS = 10_000;

/** Keeps one of the platform's own processes running: adopts it, starts it, starts it again when it ends. */
export class ComponentKeeper {
  readonly spec: ComponentSpec;
  readonly #around: KeeperSurroundings;
  readonly #stopping = new AbortController();
  readonly #logTimer: NodeJS.Timeout;
  #life: ComponentLife | undefined;
  #replaced = Promise.withResolvers<ComponentLife>();
  #isReady = false;
  #restarts = 0;
  #quickDeaths = 0;
  #lastError = "";
  #running: Promise<void> | undefined;
  #replacing: Promise<void> | undefined;

  constructor(spec: ComponentSpec, around: KeeperSurroundings) {
    this.spec = spec;
    this.#around = around;
    this.#logTimer = setInterval(() => cutLog(around.logFile), LOG_CUT_MS).unref();
  }

  /** True if the process runs already, started by an agent before this one. */
  get isAdoptable(): boolean {
    return this.#adopt() !== undefined;
  }

  /** Ends what an agent before this one has started, if it runs; another one may be started then. */
  async endFound(): Promise<void> {
    await this.#adopt()?.stop();
    dropNote(this.#around.noteFile);
  }

  /** Begins to keep it. */
  start(): void {
    this.#running = this.#keep();
  }

  async #keep(): Promise<void> {
    let next = this.#adopt();
    if (next) void this.#reseat();
    while (!this.#stopping.signal.aborted) {
      const life = next ?? (await this.#launch());
      next = undefined;
      // It was stopped while it was being launched: nobody else knows of this process yet.
      if (this.#stopping.signal.aborted) return life?.stop();
      if (life) {
        this.#settle(life);
        next = await Promise.race([life.ended.then(() => undefined), this.#replaced.promise]);
      }
      if (next) this.#replaced = Promise.withResolvers();
      else await this.#pauseAfter(life);
    }
    await next?.stop();
  }

  #adopt(): ComponentLife | undefined {
    const note = readNote(this.#around.noteFile);
    const identity = note?.identity ?? this.spec.running?.();
    if (identity === undefined) return undefined;
    const life = new ComponentLife(this.spec, identity, { startedAt: note ? new Date(note.startedAt) : new Date() });
    if (!life.isAlive) return undefined;
    this.#restarts = note?.restarts ?? 0;
    return life;
  }

  /** An adopted process has listening sockets of which this agent has no copy: a successor takes its place. */
  async #reseat(): Promise<void> {
    if (!this.spec.listeners) return;
    try {
      await this.restart();
    } catch (error) {
      this.#around.log.warn(`${this.spec.name} goes on as it was found`, { error });
    }
  }

  async #launch(): Promise<ComponentLife | undefined> {
    try {
      return await launchLife(this.spec, this.#around.logFile);
    } catch (error) {
      this.#lastError = HmsError.from(error).message;
      this.#around.log.error(`${this.spec.name} could not be started: ${this.#lastError}`, { error });
      return undefined;
    }
  }

  #settle(life: ComponentLife): void {
    const { identity, startedAt, isAdopted } = life;
    this.#life = life;
    this.#isReady = false;
    this.#around.log.info(`${this.spec.name} ${isAdopted ? "adopted" : "started"}`, { process: identity.pid });
    try {
      writeNote(this.#around.noteFile, { identity, startedAt: startedAt.toISOString(), restarts: this.#restarts });
      life.confirm();
    } catch (error) {
      this.#around.log.error(`${this.spec.name} runs, but cannot be noted for adoption`, { error });
    }
    life.untilReady().then(
      () => {
        if (this.#life !== life) return;
        this.#isReady = true;
        this.#lastError = "";
      },
      (error) => {
        const explained = life.isAlive ? undefined : this.spec.explainEnd?.(lastWords(this.#around.logFile));
        this.#lastError = explained ?? `${HmsError.from(error).message} Its log: ${this.#around.logFile}`;
      },
    );
  }

  async #pauseAfter(life: ComponentLife | undefined): Promise<void> {
    const { signal } = this.#stopping;
    if (signal.aborted) return;
    this.#isReady = false;
    const wasGood = life !== undefined && Date.now() - life.startedAt.getTime() > GOOD_LIFE_MS;
    this.#quickDeaths = wasGood ? 0 : this.#quickDeaths + 1;
    this.#restarts += 1;
    const pause = this.#quickDeaths <= 1 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** this.#quickDeaths, LONGEST_PAUSE_MS);
    this.#around.log.warn(`${this.spec.name} ended; starting it again`, { inMs: pause });
    await delay(pause, undefined, { signal }).catch(() => {});
  }

  /** Ends it for good. Resolves when it has gone. */
  async stop(): Promise<void> {
    this.#stopping.abort(new HmsError("UNAVAILABLE", `${this.spec.name} is being stopped.`));
    clearInterval(this.#logTimer);
    await this.#life?.stop();
    await this.#running;
    await this.#replacing?.catch(() => {});
    this.spec.listeners?.close();
    dropNote(this.#around.noteFile);
  }

  /**
   * Replaces the process and resolves when the new one is ready; one that hands its listening sockets on is ended only
   * then, and finishes what it has.
   * @throws HmsError UNAVAILABLE if the new process does not become ready, or is stopped before.
   */
  async restart(): Promise<void> {
    this.#quickDeaths = 0;
    if (this.spec.listeners) {
      this.#replacing = this.#replace();
      return this.#replacing;
    }
    const before = this.#life;
    await before?.stop();
    while (this.#life === before && !this.#stopping.signal.aborted) await delay(10);
    await this.#life?.untilReady();
  }

  async #replace(): Promise<void> {
    const { signal } = this.#stopping;
    signal.throwIfAborted();
    const successor = await launchLife(this.spec, this.#around.logFile);
    try {
      await orAborted(successor.untilReady(), signal);
    } catch (error) {
      await successor.stop();
      throw error;
    }
    const before = this.#life;
    this.#replaced.resolve(successor);
    while (this.#life === before && !signal.aborted) await delay(1);
    if (signal.aborted) {
      await Promise.all([successor.stop(), before?.stop()]);
      throw signal.reason;
    }
    void before?.stop(this.spec.replacedSignal);
  }

  /** The component as it is now. */
  describe(): ComponentReport {
    const life = this.#life?.isAlive ? this.#life : undefined;
    const entry = life && readProcess(life.identity.pid);
    return {
      name: this.spec.name,
      state: this.#state(life !== undefined),
      pid: BigInt(life?.identity.pid ?? 0),
      ...(life ? { startedAt: timestampFromDate(life.startedAt) } : {}),
      restarts: this.#restarts,
      memoryBytes: BigInt(entry?.residentBytes ?? 0),
      lastError: this.#lastError,
    };
  }

  #state(isAlive: boolean): agent.ReplicaState {
    if (this.#stopping.signal.aborted) return isAlive ? ReplicaState.STOPPING : ReplicaState.STOPPED;
    if (!isAlive) return this.#life ? ReplicaState.BACKING_OFF : ReplicaState.STARTING;
    return this.#isReady ? ReplicaState.RUNNING : ReplicaState.STARTING;
  }
}
