import { HmsError } from "@hms/kernel/errors";
import type { InstancePaths } from "./instance-paths.ts";

/** The parts of the platform's control: each can run in a process of its own. */
export const partNames = ["registry", "mesh", "deployment", "integration", "communication", "automation"] as const;

/** The name of one of them. */
export type PartName = (typeof partNames)[number];

/** True if a text names a part. */
export function isPartName(text: string): text is PartName {
  return (partNames as readonly string[]).includes(text);
}

/**
 * Reads "deployment,registry", each part once, in the order of `partNames`; "none" or nothing is none.
 * @throws HmsError INVALID_ARGUMENT with every name that is none
 */
export function readPartNames(option: string, text: string): PartName[] {
  if (text === "none" || text === "") return [];
  const words = text.split(",").map((word) => word.trim());
  const wrong = words.filter((word) => !isPartName(word));
  if (wrong.length > 0) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `${option} names ${wrong.map((word) => JSON.stringify(word)).join(", ")}, which the platform does not have: ` +
        `choose of ${partNames.join(", ")}, with commas between them.`,
    );
  }
  return partNames.filter((name) => words.includes(name));
}

/** A part's own socket. */
export function partSocket(paths: Pick<InstancePaths, "parts">, part: PartName): string {
  return `${paths.parts}/${part}.sock`;
}
