import { existsSync, readFileSync, statSync } from "node:fs";
import { isAbsolute } from "node:path";
import { readRecords } from "@hms/config-file";
import { HmsError } from "@hms/kernel";

/** What an installation says of passwords. */
export interface PasswordSettings {
  /** Where the list of breached passwords is: a file, or a folder of ranges. */
  readonly breachedPasswords: string;
}

/**
 * Reads the password file of an installation; undefined if there is none.
 * @throws HmsError FAILED_PRECONDITION if others can write it, INVALID_ARGUMENT with every problem of it.
 */
export function readPasswordSettings(file: string): PasswordSettings | undefined {
  if (!existsSync(file)) return undefined;
  if ((statSync(file).mode & 0o022) !== 0) {
    const message = `${file} is writable by others and is not used. Run: chmod go-w ${file}`;
    throw new HmsError("FAILED_PRECONDITION", message, { reason: "CONFIG_FILE_OPEN" });
  }
  const [settings] = readRecords(readFileSync(file, "utf8"), {
    fileName: file,
    listKey: "passwords",
    read: (reader) => ({
      breachedPasswords: reader.text("breached_passwords", {
        check: (text) => (isAbsolute(text) ? undefined : 'is no absolute path; write "/srv/pwnedpasswords.txt"'),
      }),
    }),
  });
  if (settings !== undefined) return settings;
  const message = `${file} names no list; write {"breached_passwords": "/srv/pwnedpasswords.txt"}, or delete it.`;
  throw new HmsError("INVALID_ARGUMENT", message, { reason: "CONFIG_FILE_INVALID" });
}
