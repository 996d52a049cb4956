import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { hostEnvironment, type InstanceNetwork, type InstancePaths, readNetwork } from "@hms/config";

/**
 * The places of this user's other installations, also of those that do not run: all that keep their data beside this
 * one's, or in the usual folder.
 */
export function settledPlaces({ data }: InstancePaths, stateHome = hostEnvironment().stateHome): InstanceNetwork[] {
  const folders = new Set([dirname(data), `${stateHome}/hms-sys`]);
  return [...folders]
    .flatMap((folder) => names(folder).map((name) => `${folder}/${name}`))
    .filter((other) => other !== data)
    .flatMap((other) => place(other) ?? []);
}

function place(data: string): InstanceNetwork | undefined {
  try {
    return readNetwork({ data });
  } catch {
    // Not ours to read, or not an installation.
    return undefined;
  }
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
