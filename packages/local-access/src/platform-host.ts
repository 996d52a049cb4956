import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { HmsError } from "@hms/kernel/errors";
import { makeSecretFile } from "./secret-file.ts";

const HOST = /^hms-[a-z2-7]{26}\.localhost$/;
const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

/**
 * The host at which browsers reach the platform, made on first use: `hms-<130 random bits in base32>.localhost`. Cookies
 * know no ports, and replicas listen on ports of the same machine: a host that they cannot name is one to which they
 * cannot lead a browser. The file is 0600 in a directory of 0700.
 */
export function ensurePlatformHost(file: string): string {
  makeSecretFile(file, newPlatformHost);
  return readPlatformHost(file);
}

/**
 * Reads the host at which browsers reach the platform.
 * @throws HmsError FAILED_PRECONDITION if the file holds none; Node's own error if it cannot be read.
 */
export function readPlatformHost(file: string): string {
  const host = readFileSync(file, "utf8").trim();
  if (HOST.test(host)) return host;
  throw new HmsError(
    "FAILED_PRECONDITION",
    `${file} holds no host of the platform (hms-<26 of a-z and 2-7>.localhost). Delete it and start the platform again to get a new one; browsers and command lines then sign in anew.`,
  );
}

function newPlatformHost(): string {
  // 256 is a multiple of 32, so every letter is as likely as any other.
  const letters = [...randomBytes(26)].map((byte) => ALPHABET[byte % 32]).join("");
  return `hms-${letters}.localhost`;
}
