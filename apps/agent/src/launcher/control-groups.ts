import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import {
  accountingIn,
  type ControlGroupTree,
  type CountingGroup,
  findTrees,
  type GroupLimits,
  groupsOf,
} from "./control-group-trees.ts";
import { waitUntil } from "./wait-until.ts";

/** What a group has used. */
export interface GroupUsage {
  memoryBytes: number | undefined;
  /** Processor time since the group was made, in milliseconds. */
  cpuMs: number | undefined;
  /** Times that the memory limit killed something. */
  memoryKills: number;
}

/** The control groups of one program, one in each hierarchy; none where the machine gives us none. */
export class ControlGroup {
  readonly #parts: readonly CountingGroup[];

  constructor(parts: readonly CountingGroup[]) {
    this.#parts = parts;
  }

  /** What a program writes its pid into to enter. */
  get directories(): string[] {
    return this.#parts.map((part) => part.directory);
  }

  /** What has been counted so far. */
  usage(): GroupUsage {
    const counts = this.#parts.map(accountingIn);
    return {
      memoryBytes: counts.find((count) => count.memoryBytes !== undefined)?.memoryBytes,
      cpuMs: counts.find((count) => count.cpuMs !== undefined)?.cpuMs,
      memoryKills: Math.max(0, ...counts.map((count) => count.memoryKills ?? 0)),
    };
  }

  /** Removes the groups once the program has ended; one that stays in use is removed when the agent starts again. */
  async remove(): Promise<void> {
    for (const { directory } of this.#parts) await waitUntil(() => removed(directory), 1000, 10);
  }
}

/** Limits and accounts programs with the kernel's control groups, as far as this machine lets us. */
export class ControlGroups {
  readonly #trees: readonly ControlGroupTree[];
  readonly #installation: string;

  constructor(trees: readonly ControlGroupTree[], installation: string) {
    this.#trees = trees;
    this.#installation = installation;
  }

  /** True if this machine lets us limit that resource. */
  limits(resource: "memory" | "cpu" | "pids"): boolean {
    return this.#trees.some((tree) => tree.controllers.has(resource));
  }

  /** Makes the groups of a program that is about to start. */
  create(name: string, limits: GroupLimits): ControlGroup {
    const parts = this.#trees.map((tree) => {
      const directory = `${tree.base}/${name}`;
      mkdirSync(directory, { recursive: true });
      for (const [file, value] of tree.limitFiles(limits)) {
        try {
          writeFileSync(`${directory}/${file}`, value);
        } catch (error) {
          // Swap accounting and the like are compiled out of some kernels.
          if (!tree.optional.has(file)) throw error;
        }
      }
      return { version: tree.version, directory, controllers: tree.controllers };
    });
    return new ControlGroup(parts);
  }

  /** Finds the groups of a running program that an earlier agent started; its own groups may have been others. */
  adopt(pid: number, name: string): ControlGroup {
    try {
      const parts = groupsOf(read("/proc/self/mountinfo"), read(`/proc/${pid}/cgroup`));
      return new ControlGroup(parts.filter((part) => part.directory.endsWith(`/${this.#installation}/${name}`)));
    } catch {
      // It ended meanwhile, or this machine has no control groups.
      return new ControlGroup([]);
    }
  }

  /** Removes the installation's own part if nothing is left in it. */
  close(): void {
    for (const { base } of this.#trees) removed(base);
  }

  /** Removes the groups of programs that are no longer known and have no process. */
  removeExcept(known: ReadonlySet<string>): void {
    for (const { base } of this.#trees) {
      for (const entry of readdirSync(base, { withFileTypes: true })) {
        if (entry.isDirectory() && !known.has(entry.name)) removed(`${base}/${entry.name}`);
      }
    }
  }
}

const read = (path: string) => readFileSync(path, "utf8");

function removed(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

/** Finds the control groups that this process may divide; `installation` names its own part of them. */
export function openControlGroups(installation: string): ControlGroups {
  if (process.platform !== "linux") return new ControlGroups([], installation);
  const trees = findTrees(read("/proc/self/mountinfo"), read("/proc/self/cgroup"), installation);
  return new ControlGroups(trees, installation);
}
