import { readFileSync } from "node:fs";
import { HmsError } from "@hms/kernel/errors";
import { ensureSealedKey, openSealedKey, randomKey, type SealedKeyFile } from "./sealed-key-file.ts";
import { makeSecretFile } from "./secret-file.ts";

const TOKEN = /^[0-9a-f]{64}$/;

/**
 * Reads a token, or makes a random one of 256 bits on first use; the file is 0600 in a directory of 0700. Two processes
 * that race get the same token.
 */
export function ensureToken(file: string): string {
  makeSecretFile(file, randomKey);
  return readToken(file);
}

/** The same of a token that lies sealed. @throws HmsError also if another key has sealed it, or it was changed */
export function ensureSealedToken(file: SealedKeyFile): string {
  ensureSealedKey(file);
  return checkToken(openSealedKey(file, readFileSync(file.path, "utf8")), file.path);
}

/**
 * Reads a token.
 * @throws HmsError FAILED_PRECONDITION if the file holds none; Node's own error if it cannot be read.
 */
export function readToken(file: string): string {
  return checkToken(readFileSync(file, "utf8").trim(), file);
}

function checkToken(token: string, file: string): string {
  if (TOKEN.test(token)) return token;
  throw new HmsError(
    "FAILED_PRECONDITION",
    `${file} holds no token (64 hexadecimal digits). Delete it and start the platform again to get a new one.`,
  );
}
