import { readFileSync } from "node:fs";
import { dirname, extname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** A process of the platform that has an entry file of its own. */
export type ProgramName = "agent" | "server" | "dataplane";

/** The folder of the checkout or of the installed package. */
function productRoot(): string {
  const root = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");
  return import.meta.url.endsWith(".js") ? dirname(root) : root;
}

/** The version of the product as it is installed now: a process that outlives an upgrade reads it at its start. */
export function productVersion(): string {
  const { version } = JSON.parse(readFileSync(resolve(productRoot(), "package.json"), "utf8")) as { version: string };
  return version;
}

/** The command line's own file, `hms-sys`; for advice that works wherever it is typed, quoted where a shell needs it. */
export function launcherPath(): string {
  const path = resolve(productRoot(), "hms-sys");
  return /^[\w./@+-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

/** The entry file of a process: a source in a checkout, a file of dist/ where it has been compiled (see script/build.ts). */
export function programPath(name: ProgramName): string {
  const here = fileURLToPath(import.meta.url);
  const root = resolve(dirname(here), "../../..");
  return extname(here) === ".js" ? resolve(root, `${name}.js`) : resolve(root, `apps/${name}/src/main.ts`);
}
