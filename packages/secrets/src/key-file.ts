import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { HmsError } from "@hms/kernel/errors";
import { readSecretFile } from "./secret-file.ts";

const FORM = /^(?:hms-kek-v1 [A-Za-z0-9+/]{43}=(?:\n|$))+$/;
const KEY_LINE = /^hms-kek-v1 (\S+)$/gm;
/** In the place of keys: the file where they are kept. */
const ELSEWHERE = /^hms-kek-file (\/[^\n]*?)\s*$/;

function unusable(file: string, why: string): HmsError {
  return new HmsError("FAILED_PRECONDITION", `${file} ${why}`, { reason: "KEY_FILE_UNUSABLE" });
}

/** Makes a key file if there is none, 0600 in a folder of 0700; two processes that race get the same key. */
export function ensureKeyFile(file: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  chmodSync(dirname(file), 0o700);
  if (existsSync(file)) return;
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, textOf([randomBytes(32)]), { mode: 0o600 });
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

const textOf = (keys: readonly Buffer[]) => keys.map((key) => `hms-kek-v1 ${key.toString("base64")}\n`).join("");

/** Puts keys in the place of those that a key file holds: all of them or none, on disk before this returns. */
export function replaceKeyFile(file: string, keys: readonly Buffer[]): void {
  const draft = `${file}.${process.pid}`;
  rmSync(draft, { force: true });
  const descriptor = openSync(draft, "wx", 0o600);
  try {
    writeFileSync(descriptor, textOf(keys));
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(draft, file);
}

/**
 * The file where a key file says that its keys are kept, by a line "hms-kek-file /PATH"; undefined: in itself.
 * @throws HmsError FAILED_PRECONDITION if others than its owner may read the key file.
 */
export function keptElsewhere(file: string): string | undefined {
  return ELSEWHERE.exec(textOfOwn(file))?.[1];
}

/**
 * Reads the keys of a key file, or of the one that it names: lines of "hms-kek-v1 " and 32 bytes in base64, the key that seals
 * first; never anything else instead.
 * @throws HmsError FAILED_PRECONDITION if there is no key, or others than its owner may read the key file.
 */
export function readKeyFile(file: string): Buffer[] {
  const elsewhere = keptElsewhere(file);
  const text = elsewhere === undefined ? textOfOwn(file) : readSecretFile(elsewhere, file);
  if (FORM.test(text)) return [...text.matchAll(KEY_LINE)].map(([, key = ""]) => Buffer.from(key, "base64"));
  throw unusable(elsewhere ?? file, 'holds no key ("hms-kek-v1 " and 32 bytes in base64). Restore it from a backup.');
}

function textOfOwn(file: string): string {
  const { mode, uid } = lstatSync(file);
  if ((mode & 0o077) !== 0) throw unusable(file, `can be read by others; take that away with: chmod 600 ${file}`);
  if (uid !== process.getuid?.()) throw unusable(file, "belongs to somebody else; only its owner's key is used.");
  return readFileSync(file, "utf8");
}
