import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { HmsError } from "@hms/kernel/errors";

const TOKEN = /^[0-9a-f]{64}$/;

/**
 * Reads a token, or makes a random one of 256 bits on first use; the file is 0600 in a directory of 0700. Two processes
 * that race get the same token.
 */
export function ensureToken(file: string): string {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  chmodSync(dirname(file), 0o700);
  // What is there needs no room on a full disk.
  if (existsSync(file)) return readToken(file);
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, `${randomBytes(32).toString("hex")}\n`, { mode: 0o600 });
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  return readToken(file);
}

/**
 * Reads a token.
 * @throws HmsError FAILED_PRECONDITION if the file holds none; Node's own error if it cannot be read.
 */
export function readToken(file: string): string {
  const token = readFileSync(file, "utf8").trim();
  if (TOKEN.test(token)) return token;
  throw new HmsError(
    "FAILED_PRECONDITION",
    `${file} holds no token (64 hexadecimal digits). Delete it and start the platform again to get a new one.`,
  );
}
