import { dirname, extname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** A process of the platform that has an entry file of its own. */
export type ProgramName = "agent" | "server" | "dataplane";

/** The entry file of a process: a source in a checkout, compiled in an installed package, where the layout is the same. */
export function programPath(name: ProgramName): string {
  const here = fileURLToPath(import.meta.url);
  return resolve(dirname(here), `../../../apps/${name}/src/main${extname(here)}`);
}
