import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel";
import { identityOf, isAlive, type ProcessIdentity, signalProcess } from "../launcher/process-identity.ts";
import { readProcess } from "../launcher/process-table.ts";
import { openComponentLog } from "./component-log.ts";
import type { ComponentSpec } from "./component-spec.ts";

/** An adopted process is looked at this often; a child tells of its end itself. */
const LOOK_MS = 100;
const READY_LOOK_MS = 15;
/** A process that is not ready by then is left to itself; it may still become ready. */
const READY_PATIENCE_MS = 60_000;

/** One process of a component, from its start or adoption to its end. */
export class ComponentLife {
  readonly identity: ProcessIdentity;
  readonly startedAt: Date;
  /** Resolves when the process has ended. */
  readonly ended: Promise<void>;
  readonly #spec: ComponentSpec;
  readonly #child: ChildProcess | undefined;
  readonly #attached: Promise<void> | undefined;

  constructor(spec: ComponentSpec, identity: ProcessIdentity, origin: { startedAt: Date; child?: ChildProcess }) {
    this.#spec = spec;
    this.identity = identity;
    this.startedAt = origin.startedAt;
    this.#child = origin.child;
    this.#attached = origin.child && spec.listeners?.attach(origin.child);
    this.#attached?.catch(() => {});
    this.ended = this.#end();
  }

  /** True if it was found running, not started by this agent. */
  get isAdopted(): boolean {
    return this.#child === undefined;
  }

  /** True while the process runs. */
  get isAlive(): boolean {
    return isAlive(this.identity);
  }

  async #end(): Promise<void> {
    const child = this.#child;
    if (child && child.exitCode === null && child.signalCode === null) {
      await new Promise<void>((resolve) => child.once("exit", () => resolve()));
    }
    while (this.isAlive) await delay(LOOK_MS);
  }

  /** @throws HmsError UNAVAILABLE if it ends before it is ready, or is not ready within 60 s. */
  async untilReady(): Promise<void> {
    const { name } = this.#spec;
    if (this.#attached) {
      return this.#attached.catch((cause) => {
        throw new HmsError("UNAVAILABLE", `${name} did not start: ${cause.message}.`, { cause });
      });
    }
    const until = performance.now() + READY_PATIENCE_MS;
    while (performance.now() < until && this.isAlive) {
      if (await this.#spec.isReady()) return;
      await delay(READY_LOOK_MS);
    }
    throw new HmsError(
      "UNAVAILABLE",
      `${name} ${this.isAlive ? "is not ready after 60 s" : "ended before it was ready"}.`,
    );
  }

  /** Says that the process has been noted, so that it goes on if this agent dies. */
  confirm(): void {
    if (this.#child) this.#spec.listeners?.confirm(this.#child);
  }

  /** Asks it to end; after the grace period it is killed. Resolves when it has gone. */
  async stop(signal = this.#spec.stopSignal): Promise<void> {
    signalProcess(this.identity, signal);
    const late = setTimeout(() => signalProcess(this.identity, "SIGKILL"), this.#spec.stopGraceMs);
    await this.ended;
    clearTimeout(late);
  }
}

/**
 * Starts a new process of a component, in a session of its own, its words appended to the log.
 * @throws HmsError or Node's error if it cannot be started.
 */
export async function launchLife(spec: ComponentSpec, logFile: string): Promise<ComponentLife> {
  await spec.prepare?.();
  const { argv, env, cwd } = spec.command();
  const [program = "", ...args] = argv;
  const log = openComponentLog(logFile);
  try {
    const stdio = ["ignore", log, log, ...(spec.listeners ? (["ipc"] as const) : [])] as const;
    const child = spawn(program, args, { cwd, env, detached: true, stdio: [...stdio] });
    await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
    const entry = child.pid === undefined ? undefined : readProcess(child.pid);
    if (entry === undefined) throw new HmsError("UNAVAILABLE", `${spec.name} ended at once; its log: ${logFile}`);
    return new ComponentLife(spec, identityOf(entry), { startedAt: new Date(), child });
  } finally {
    closeSync(log);
  }
}
