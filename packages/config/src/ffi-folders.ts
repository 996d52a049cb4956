import { chmodSync, mkdirSync } from "node:fs";
import type { InstancePaths } from "./instance-paths.ts";

/** Enter, but not list. */
const PASSAGE = 0o711;
/** Make files and remove one's own, but not list others'. */
const DROP_BOX = 0o1733;

/** Makes the folders that deployed services see, as open as they have to be; their parent stays the operator's alone. */
export function ensureFfiFolders({ ffi, ffiServices }: Pick<InstancePaths, "ffi" | "ffiServices">): void {
  for (const [folder, mode] of [
    [ffi, PASSAGE],
    [ffiServices, DROP_BOX],
  ] as const) {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, mode);
  }
}
