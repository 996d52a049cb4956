import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** A process of the platform that has an entry file of its own. */
export type ProgramName = "agent" | "server" | "dataplane";

/** The entry file of a process: its source in a checkout, its bundle beside this one in an installed package. */
export function programPath(name: ProgramName): string {
  const here = fileURLToPath(import.meta.url);
  if (here.endsWith(".ts")) return resolve(dirname(here), `../../../apps/${name}/src/main.ts`);
  return resolve(dirname(here), `${name}.js`);
}
