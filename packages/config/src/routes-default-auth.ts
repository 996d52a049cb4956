import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { HmsError } from "@hms/kernel/errors";
import type { InstancePaths } from "./instance-paths.ts";

/** What `auth` is for routes whose manifest does not say it. */
export type RoutesDefaultAuth = "public" | "required";

const file = (paths: Pick<InstancePaths, "data">) => `${paths.data}/routes-default-auth.txt`;

/** @throws HmsError INVALID_ARGUMENT if the text, given as `option`, is neither public nor required */
export function parseRoutesDefaultAuth(option: string, text: string): RoutesDefaultAuth {
  if (text === "public" || text === "required") return text;
  const what = `${option} says what auth is for routes whose manifest does not say it: public or required`;
  throw new HmsError("INVALID_ARGUMENT", `${what}; not ${JSON.stringify(text)}.`);
}

/**
 * What `auth` is for routes whose manifest does not say it; public unless `up --routes-default-auth` has said otherwise.
 * @throws HmsError INVALID_ARGUMENT if the file holds something else: a route is not opened because nobody could read it
 */
export function readRoutesDefaultAuth(paths: Pick<InstancePaths, "data">): RoutesDefaultAuth {
  try {
    return parseRoutesDefaultAuth(file(paths), readFileSync(file(paths), "utf8").trim());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "public";
    throw error;
  }
}

/** Keeps it; atomic. */
export function writeRoutesDefaultAuth(paths: Pick<InstancePaths, "data">, auth: RoutesDefaultAuth): void {
  writeFileSync(`${file(paths)}.new`, `${auth}\n`, { mode: 0o600 });
  renameSync(`${file(paths)}.new`, file(paths));
}
