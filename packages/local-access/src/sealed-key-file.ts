import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { openText, type SealingKey, sealText, textSealedBy } from "@hms/secrets";
import { makeSecretFile } from "./secret-file.ts";

/** A file with a random key that is worth something on other machines, so that it lies there sealed. */
export interface SealedKeyFile {
  readonly path: string;
  readonly sealing: SealingKey;
}

const KEY = /^[0-9a-f]{64}$/;

/** A key of 256 bits, as 64 hexadecimal digits. */
export const randomKey = () => randomBytes(32).toString("hex");

/** One key before another has the same context: it may be moved from file to file. */
const contextOf = (path: string) => ["local-access", basename(path, ".old")];

/**
 * Makes the file if it is not there, 0600; of two processes that race one does. A key that lies there plain, from an earlier
 * version, or sealed by an old key is sealed anew; what is no key stays as it is.
 * @throws HmsError if another key has sealed it, or it was changed
 */
export function ensureSealedKey(file: SealedKeyFile): void {
  const { path, sealing } = file;
  makeSecretFile(path, () => sealText(sealing, randomKey(), contextOf(path)));
  const text = readFileSync(path, "utf8");
  if (textSealedBy(text.trim()) === sealing.id) return;
  const key = openSealedKey(file, text);
  // Another process may have replaced it meanwhile.
  if (KEY.test(key) && readFileSync(path, "utf8") === text) putUnlessFull(file, key);
}

/** It can be used as it is: a full or read-only disk keeps nobody from starting. */
function putUnlessFull(file: SealedKeyFile, key: string): void {
  try {
    putSealedKey(file, key);
  } catch (error) {
    if (!["ENOSPC", "EROFS", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

/**
 * Seals anew what of some files is plain or by an old key, and answers with how many; those that are not there stay away.
 * @throws HmsError if one cannot be opened
 */
export function resealKeyFiles(paths: readonly string[], sealing: SealingKey): number {
  const stale = paths.filter(
    (path) => existsSync(path) && textSealedBy(readFileSync(path, "utf8").trim()) !== sealing.id,
  );
  for (const path of stale) ensureSealedKey({ path, sealing });
  return stale.length;
}

/** The key in such a file's text. @throws HmsError if another key has sealed it, or it was changed */
export function openSealedKey({ path, sealing }: SealedKeyFile, text: string): string {
  return openText(sealing, text.trim(), contextOf(path));
}

/** Puts another key in the place of the one there: all of it or nothing. */
export function putSealedKey({ path, sealing }: SealedKeyFile, key: string): void {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, `${sealText(sealing, key, contextOf(path))}\n`, { mode: 0o600, flush: true });
  renameSync(draft, path);
}

/** The ids of the sealing keys that files need, with the file that does; those that are not there need none. */
export function keyFilesSealedBy(paths: readonly string[]): Map<string, string> {
  const present = paths.filter((path) => existsSync(path));
  return new Map(present.map((path) => [textSealedBy(readFileSync(path, "utf8").trim()), path]));
}
