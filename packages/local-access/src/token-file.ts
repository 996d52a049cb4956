import { existsSync, readFileSync } from "node:fs";
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

/**
 * Reads a token that lies sealed, for whoever has to show it elsewhere.
 * @throws HmsError FAILED_PRECONDITION if it is not there, holds none, or another key has sealed it; DATA_LOSS if it was changed
 */
export function showSealedToken(file: SealedKeyFile): string {
  if (!existsSync(file.path)) {
    throw new HmsError("FAILED_PRECONDITION", `${file.path} is not there yet; the first start makes it: hms-sys up`);
  }
  return checkToken(openSealedKey(file, readFileSync(file.path, "utf8")), file.path);
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
  if (token.startsWith("hms-sealed-")) {
    const message = `${file} is sealed for its own installation. Get the key itself there with: hms-sys part-key show`;
    throw new HmsError("FAILED_PRECONDITION", message, { reason: "SEALED_ELSEWHERE" });
  }
  throw new HmsError(
    "FAILED_PRECONDITION",
    `${file} holds no token (64 hexadecimal digits). Delete it and start the platform again to get a new one.`,
  );
}
