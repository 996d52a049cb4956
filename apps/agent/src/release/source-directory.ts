import { realpath, stat } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { HmsError } from "@hms/kernel";
import type { Machine } from "../launcher/machine.ts";
import { isUnder } from "../launcher/mount-plan.ts";

/**
 * The real path of a program's directory.
 * @throws HmsError INVALID_ARGUMENT if it is none, or lies in the platform's own directories or around them.
 */
export async function sourceDirectory({ data, config }: Machine["paths"], wish: string): Promise<string> {
  const refuse = (why: string) => {
    const description = `${wish || "It"} ${why}`;
    const fieldViolations = [{ field: "source_directory", description }];
    return new HmsError("INVALID_ARGUMENT", `source_directory: ${description}`, { fieldViolations });
  };
  if (!isAbsolute(wish)) throw refuse("is not an absolute path.");
  const found = await realpath(wish).catch(() => undefined);
  if (!found || !(await stat(found)).isDirectory()) throw refuse("is not a directory on this machine.");
  const clash = [data, config].find((own) => isUnder(own, found) || isUnder(found, own));
  if (clash)
    throw refuse(`and the platform's own ${clash} lie in each other: deploy from the program's own directory.`);
  return found;
}
