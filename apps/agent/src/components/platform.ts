import { mkdirSync } from "node:fs";
import type { InstancePaths } from "@hms/config";
import type { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import { ComponentKeeper, type ComponentReport } from "./component-keeper.ts";
import type { ComponentSpec } from "./component-spec.ts";

/** Keeps all of the platform's own processes. */
export class Platform {
  readonly #keepers: ReadonlyMap<string, ComponentKeeper>;

  constructor(specs: readonly ComponentSpec[], paths: InstancePaths, log: Logger) {
    const notes = `${paths.data}/components`;
    const logs = `${paths.data}/logs`;
    for (const folder of [notes, logs]) mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#keepers = new Map(
      specs.map((spec) => [
        spec.name,
        new ComponentKeeper(spec, { noteFile: `${notes}/${spec.name}.json`, logFile: `${logs}/${spec.name}.log`, log }),
      ]),
    );
  }

  /** Begins to keep every one of them; each waits for what it needs by itself. */
  start(): void {
    for (const keeper of this.#keepers.values()) keeper.start();
  }

  /** Ends what an agent before this one has started and is not to be adopted: these processes, or all. */
  async endFound(names: Iterable<string> = this.#keepers.keys()): Promise<void> {
    await Promise.all([...names].map((name) => this.#keepers.get(name)?.endFound()));
  }

  /** True if the process runs already, started by an agent before this one. */
  isRunning(name: string): boolean {
    return this.#keepers.get(name)?.isAdoptable ?? false;
  }

  /**
   * Replaces one process by a new one and waits until that is ready.
   * @throws HmsError NOT_FOUND if there is no such component here.
   */
  async restart(name: string): Promise<ComponentReport> {
    const keeper = this.#keepers.get(name);
    if (keeper === undefined) {
      const known = [...this.#keepers.keys()].join(", ");
      throw new HmsError("NOT_FOUND", `There is no component "${name}" to restart here: choose ${known}.`);
    }
    await keeper.restart();
    return keeper.describe();
  }

  /** Ends one process for good; nothing happens if it is not kept here. */
  async stop(name: agent.Component["name"]): Promise<void> {
    await this.#keepers.get(name)?.stop();
  }

  /** Every process as it is now. */
  describe(): ComponentReport[] {
    return [...this.#keepers.values()].map((keeper) => keeper.describe());
  }
}
