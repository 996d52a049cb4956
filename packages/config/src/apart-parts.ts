import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { InstancePaths } from "./instance-paths.ts";
import { type PartName, readPartNames } from "./part-name.ts";

const file = (paths: Pick<InstancePaths, "data">) => `${paths.data}/apart.txt`;

/** The parts that run in processes of their own in this installation; none unless `up --apart` has named some. */
export function readApart(paths: Pick<InstancePaths, "data">): PartName[] {
  try {
    return readPartNames(file(paths), readFileSync(file(paths), "utf8").trim());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Keeps which parts run in processes of their own; atomic. */
export function writeApart(paths: Pick<InstancePaths, "data">, parts: readonly PartName[]): void {
  writeFileSync(`${file(paths)}.new`, `${parts.join(",")}\n`, { mode: 0o600 });
  renameSync(`${file(paths)}.new`, file(paths));
}
