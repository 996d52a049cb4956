import { openList } from "./open-list.ts";
import { readPasswordSettings } from "./password-settings.ts";

/** A list of breached passwords that can be used. */
export interface CheckedList {
  readonly path: string;
  readonly form: "file" | "folder of ranges";
  /** In bytes; undefined for a folder. */
  readonly size?: number;
}

/**
 * Looks at the list that an installation's password file names, at 64 places of it; undefined if none is named.
 * @throws HmsError FAILED_PRECONDITION or INVALID_ARGUMENT with what is wrong with the file or the list, and what to do.
 */
export async function checkBreachedPasswords(settingsFile: string): Promise<CheckedList | undefined> {
  const settings = readPasswordSettings(settingsFile);
  if (settings === undefined) return undefined;
  const path = settings.breachedPasswords;
  await using list = await openList(path);
  await list.check();
  const { form, size } = list;
  return { path, form, ...(size === undefined ? {} : { size }) };
}
