import { rm } from "node:fs/promises";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { bootId } from "../launcher/boot-id.ts";
import { type ProcessEnd, readLaunchStatus } from "../launcher/launch-status.ts";
import type { Machine } from "../launcher/machine.ts";
import type { ProcessEntry } from "../launcher/process-table.ts";
import { type LogPump, pumpLogs } from "../logs/log-pump.ts";
import type { LogWriter } from "../logs/log-writer.ts";
import type { ReadRate } from "../logs/read-budget.ts";
import { backOffMs, STABLE_AFTER_MS } from "./back-off.ts";
import { explainLaunchFailure } from "./launch-failure.ts";
import type { ReplicaJournal, ReplicaLife, ReplicaRecord } from "./replica-journal.ts";
import { adoptReplica, launchReplica, type RunningProgram, replicaStateDirectory } from "./replica-program.ts";
import { replicaMessage } from "./replica-view.ts";
import { UsageMeter } from "./usage-meter.ts";

/** What a replica needs of its keeper. */
export interface ReplicaContext {
  machine: Machine;
  journal: ReplicaJournal;
  log: LogWriter;
  readRate: Partial<ReadRate>;
  /** Finds the release's directory. @throws HmsError FAILED_PRECONDITION if it is not there. */
  releaseDirectory(): Promise<string>;
  /** Called after each change of what `view` answers. */
  changed(): void;
}

const { ReplicaState } = agent;
/** From SIGTERM to SIGKILL if the spec does not say. */
export const DEFAULT_GRACE_MS = 10_000;
/** The FIFO of an ended program holds 64 KiB: reading them takes a moment, unless the disk hangs. */
const DRAIN_DEADLINE_MS = 5000;

/** Keeps one replica running until it is stopped. Its steps happen one after the other. */
export class Replica {
  readonly record: ReplicaRecord;
  readonly #context: ReplicaContext;
  readonly #life: ReplicaLife;
  readonly #meter = new UsageMeter();
  #state: agent.ReplicaState = ReplicaState.STARTING;
  #program: (RunningProgram & { pump: LogPump }) | undefined;
  #pid = 0;
  #adopted = false;
  #wanted = true;
  #usage: agent.ReplicaUsage | undefined;
  #overMemory = false;
  #timer: NodeJS.Timeout | undefined;
  #unsaved = false;
  #steps: Promise<unknown> = Promise.resolve();

  constructor(record: ReplicaRecord, life: ReplicaLife | undefined, context: ReplicaContext) {
    this.record = record;
    this.#context = context;
    this.#life = life ?? { attempt: 0, restarts: 0, failures: 0, startedAtMs: 0, nextStartAtMs: 0, bootId: bootId() };
  }

  /** The replica as it is now. */
  get view(): agent.Replica {
    return replicaMessage({
      spec: this.record.spec,
      state: this.#state,
      pid: this.#pid,
      port: this.record.slot,
      life: this.#life,
      usage: this.#usage,
      adopted: this.#adopted,
    });
  }

  /** Seals its secrets anew if an old key has; answers with how many. @throws HmsError */
  async reseal(): Promise<number> {
    const { machine, journal } = this.#context;
    const anew = machine.secrets.reseal(this.record.spec);
    if (anew === undefined) return 0;
    await journal.add({ ...this.record, spec: anew.spec });
    this.record.spec = anew.spec;
    return anew.resealed;
  }

  /** Starts the program; resolves when it runs, or when it is known why it does not yet. */
  start(): Promise<void> {
    return this.#step(() => this.#launch());
  }

  /** Takes the program over if it runs, notes how it ended if it does not; begins to start it if it should run. */
  resume(): Promise<void> {
    return this.#step(async () => {
      if (await this.#adopt()) return;
      const sameBoot = this.#life.bootId === bootId();
      if (this.record.stopping || !this.#wanted) return;
      if (!sameBoot) Object.assign(this.#life, { failures: 0, bootId: bootId() });
      else if (this.#noteMissedEnd()) return this.#scheduleStart();
      else if (this.#life.nextStartAtMs > Date.now()) return this.#waitUntilStart();
      this.#alone(this.start());
    });
  }

  /** Ends the program and everything it started; resolves when nothing is left. It is not started again. */
  stop(graceMs?: number): Promise<void> {
    this.#wanted = false;
    clearTimeout(this.#timer);
    return this.#step(async () => {
      const grace = graceMs ?? (Number(this.record.spec.stopGraceMs) || DEFAULT_GRACE_MS);
      const program = this.#program;
      if (program) {
        this.#become(ReplicaState.STOPPING);
        const end = await program.process.stop(grace);
        await this.#ended(end);
      }
      this.#become(ReplicaState.STOPPED);
    });
  }

  /** Kills the program and everything it started, without waiting for a stop that is under way. */
  async kill(): Promise<void> {
    await this.#program?.process.kill();
  }

  /** Ends the program until the agent starts again. */
  async suspend(): Promise<void> {
    await this.stop();
    await this.#step(() => this.#save());
  }

  /** Lets the program go on without this agent. */
  async detach(): Promise<void> {
    this.#wanted = false;
    clearTimeout(this.#timer);
    await this.#step(async () => {
      this.#program?.process.detach();
      await this.#program?.pump.done;
    });
  }

  /** Removes what only a running replica needs. */
  async cleanUp(): Promise<void> {
    const { machine } = this.#context;
    await rm(replicaStateDirectory(machine, this.record.spec.replicaId), { recursive: true, force: true });
  }

  /** The memory limit that has to be kept by measuring, 0 if none. */
  get measuredMemoryLimit(): number {
    const limit = Number(this.record.spec.limits?.memoryBytes ?? 0n);
    return this.#context.machine.groups.limits("memory") ? 0 : limit;
  }

  /** Measures the program; a memory limit that the kernel does not keep is kept here. `tell`: also show it. */
  async measure(list: readonly ProcessEntry[], tell: boolean): Promise<void> {
    const program = this.#program;
    if (!program || this.#state !== ReplicaState.RUNNING) return;
    const usage = this.#meter.measure(program.process.members(list), program.group);
    if (tell) {
      this.#usage = usage;
      this.#context.changed();
    }
    const limit = this.measuredMemoryLimit;
    if (limit === 0 || Number(usage.memoryBytes) <= limit) return;
    this.#overMemory = true;
    await program.process.kill();
  }

  /** Writes down what happened again, if a full disk prevented it. */
  async retrySave(): Promise<void> {
    if (this.#unsaved) await this.#save();
  }

  #step<T>(work: () => Promise<T>): Promise<T> {
    const step = this.#steps.then(work);
    this.#steps = step.catch(() => {});
    return step;
  }

  /** A step that nobody waits for: if it fails, the program is to be started again all the same. */
  #alone(step: Promise<void>): void {
    const again = async (error: unknown) => {
      if (!this.#wanted || this.#program) return;
      this.#note(`to be started again: ${HmsError.from(error).message}`);
      await this.#scheduleStart();
    };
    step.catch((error) => this.#step(() => again(error))).catch(() => {});
  }

  #become(state: agent.ReplicaState): void {
    this.#state = state;
    if (state !== ReplicaState.RUNNING) this.#usage = undefined;
    this.#context.changed();
  }

  async #save(): Promise<void> {
    try {
      await this.#context.journal.saveLife(this.record.spec.replicaId, this.#life);
      this.#unsaved = false;
    } catch {
      // The program matters more than its counts; the keeper asks again.
      this.#unsaved = true;
    }
  }

  async #launch(): Promise<void> {
    if (!this.#wanted || this.#program) return;
    this.#become(ReplicaState.STARTING);
    this.#life.attempt += 1;
    this.#life.startedAtMs = Date.now();
    this.#life.bootId = bootId();
    try {
      const directory = await this.#context.releaseDirectory();
      const { machine } = this.#context;
      const program = await launchReplica(machine, this.record, { attempt: this.#life.attempt, directory });
      await this.#take(program);
    } catch (error) {
      // The lock is held: an earlier agent's launch came through after all.
      if (HmsError.from(error).details.reason === "ALREADY_RUNNING" && (await this.#adopt())) return;
      return this.#notLaunched(HmsError.from(error));
    }
    this.#note(`started: pid ${this.#pid}, port ${this.record.slot}`);
    const { cpuLimits, limitsReason } = this.#context.machine.report;
    if (this.record.spec.limits?.cpuMillicores && !cpuLimits)
      this.#note(`the processor limit is not kept: ${limitsReason}`);
    await this.#save();
  }

  async #notLaunched(error: HmsError): Promise<void> {
    const launchError = error.code === "INTERNAL" && error.cause instanceof Error ? error.cause.message : error.message;
    this.#life.lastExit = { code: -1, signal: "", atMs: Date.now(), outOfMemory: false, launchError };
    this.#note(`not started: ${launchError}`);
    await this.#scheduleStart();
  }

  async #adopt(): Promise<boolean> {
    const program = await adoptReplica(this.#context.machine, this.record.spec);
    if (!program) return false;
    this.#adopted = true;
    this.#life.attempt = program.process.attempt;
    this.#life.startedAtMs ||= Date.now();
    await this.#take(program);
    this.#note(`adopted: pid ${this.#pid}, port ${this.record.slot}`);
    return true;
  }

  async #take(program: RunningProgram): Promise<void> {
    const { process } = program;
    const { log, readRate: rate } = this.#context;
    const pump = pumpLogs(process, log, { rate, mask: program.mask });
    this.#program = { ...program, pump };
    this.#overMemory = false;
    this.#meter.reset();
    this.#pid = (await process.waitForMain())?.pid ?? 0;
    this.#become(ReplicaState.RUNNING);
    this.#alone(process.ended.then((end) => this.#step(() => this.#endedByItself(process, end))));
  }

  async #endedByItself(process: RunningProgram["process"], end: ProcessEnd): Promise<void> {
    if (this.#program?.process !== process) return;
    await this.#ended(end);
    if (this.#wanted) await this.#scheduleStart();
  }

  async #ended(end: ProcessEnd): Promise<void> {
    const program = this.#program;
    if (!program) return;
    const { surroundings } = this.#context.machine;
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, DRAIN_DEADLINE_MS);
    await Promise.race([program.pump.done.catch(() => {}), timeout.promise]);
    clearTimeout(timer);
    // First of all: whatever fails below, the program has ended, and another one may be started.
    this.#program = undefined;
    this.#pid = 0;
    this.#adopted = false;
    program.process.detach();
    this.#life.lastExit = {
      code: end.code,
      signal: end.signal,
      atMs: end.at.getTime(),
      outOfMemory: this.#overMemory || program.group.usage().memoryKills > 0,
      launchError: explainLaunchFailure({
        command: this.record.spec.command,
        exitCode: end.code,
        lastErrorLine: program.pump.lastErrorLine(),
        operatorPath: surroundings.operatorPath,
        programPath: surroundings.programPath.split(":"),
      }),
    };
    this.#note(endNote(this.#life.lastExit));
    await program.group.remove();
  }

  async #scheduleStart(): Promise<void> {
    const stable = Date.now() - this.#life.startedAtMs >= STABLE_AFTER_MS;
    this.#life.failures = stable ? 1 : this.#life.failures + 1;
    this.#life.restarts += 1;
    this.#life.nextStartAtMs = Date.now() + backOffMs(this.#life.failures);
    this.#waitUntilStart();
    await this.#save();
  }

  #waitUntilStart(): void {
    if (!this.#wanted) return;
    this.#become(ReplicaState.BACKING_OFF);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#alone(this.start()), Math.max(0, this.#life.nextStartAtMs - Date.now()));
  }

  /** True if the program ended while no agent was there; then how it ended is known from what its init wrote. */
  #noteMissedEnd(): boolean {
    const status = readLaunchStatus(replicaStateDirectory(this.#context.machine, this.record.spec.replicaId));
    const { lastExit } = this.#life;
    if (!status?.init || status.attempt < this.#life.attempt) return false;
    if (lastExit && lastExit.atMs >= this.#life.startedAtMs) return false;
    const end = status.end ?? { code: -1, signal: "SIGKILL", at: new Date() };
    this.#life.attempt = status.attempt;
    const { code, signal } = end;
    this.#life.lastExit = { code, signal, atMs: end.at.getTime(), outOfMemory: false, launchError: "" };
    this.#note(`${endNote(this.#life.lastExit)}, while no agent was running`);
    return true;
  }

  #note(text: string): void {
    void this.#context.log.note(text);
  }
}

function endNote(exit: NonNullable<ReplicaLife["lastExit"]>): string {
  const how = exit.signal ? `ended by ${exit.signal}` : `exited with code ${exit.code}`;
  return [how, exit.outOfMemory ? "out of memory" : "", exit.launchError].filter(Boolean).join(": ");
}
