import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { HmsError } from "@hms/kernel/errors";

/** Who is signed in at the command line, and by what. */
export interface Login {
  readonly issuer: string;
  readonly accessToken: string;
  /** Milliseconds since 1970. */
  readonly endsAtMs: number;
  readonly refreshToken: string;
}

/** Reads a login; undefined if nobody is signed in. @throws HmsError FAILED_PRECONDITION if the file holds none. */
export function readLogin(file: string): Login | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const login = JSON.parse(text) as Login;
    if (typeof login.accessToken === "string" && typeof login.refreshToken === "string") return login;
  } catch {
    // Said below: what is no JSON is no login either.
  }
  throw new HmsError("FAILED_PRECONDITION", `${file} holds no login. Delete it and sign in again: hms-sys login`);
}

/** Keeps a login, for its owner's eyes only; atomic. */
export function writeLogin(file: string, login: Login): void {
  writeFileSync(`${file}.new`, `${JSON.stringify(login)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Forgets a login. */
export function removeLogin(file: string): void {
  rmSync(file, { force: true });
}
