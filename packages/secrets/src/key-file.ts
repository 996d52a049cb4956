import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, linkSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { HmsError } from "@hms/kernel/errors";

const FORM = /^hms-kek-v1 ([A-Za-z0-9+/]{43}=)\n?$/;

function unusable(file: string, why: string): HmsError {
  return new HmsError("FAILED_PRECONDITION", `${file} ${why}`, { reason: "KEY_FILE_UNUSABLE" });
}

/** Makes a key file if there is none, 0600 in a folder of 0700; two processes that race get the same key. */
export function ensureKeyFile(file: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  chmodSync(dirname(file), 0o700);
  if (existsSync(file)) return;
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, `hms-kek-v1 ${randomBytes(32).toString("base64")}\n`, { mode: 0o600 });
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Reads a key file: "hms-kek-v1 " and 32 bytes in base64; never anything else instead.
 * @throws HmsError FAILED_PRECONDITION if it holds no key, or others than its owner may read it.
 */
export function readKeyFile(file: string): Buffer {
  const { mode, uid } = lstatSync(file);
  if ((mode & 0o077) !== 0) throw unusable(file, `can be read by others; take that away with: chmod 600 ${file}`);
  if (uid !== process.getuid?.()) throw unusable(file, "belongs to somebody else; only its owner's key is used.");
  const [, text] = FORM.exec(readFileSync(file, "utf8")) ?? [];
  if (text === undefined) {
    throw unusable(file, 'holds no key ("hms-kek-v1 " and 32 bytes in base64). Restore it from a backup.');
  }
  return Buffer.from(text, "base64");
}
