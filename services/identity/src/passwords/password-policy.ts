import type { FieldViolation } from "@hms/kernel";
import type { BreachedPasswords } from "../ports.ts";
import { isWidelyKnown } from "./known-passwords.ts";

const SHORTEST = 12;
const SHORTEST_OF_ADMINS = 15;
const LONGEST_BYTES = 1024;

/** Whose password it would be. */
export interface PasswordOwner {
  readonly login: string;
  readonly email: string;
  /** True if they may do everything. */
  readonly isAdmin: boolean;
}

/**
 * Every reason why somebody may not have a password; none is good. There are no rules about kinds of characters
 * (OWASP ASVS 5.0, 6.2).
 * @throws HmsError FAILED_PRECONDITION if the list of breached passwords cannot be used.
 */
export async function passwordProblems(
  password: string,
  owner: PasswordOwner,
  breached: BreachedPasswords,
): Promise<FieldViolation[]> {
  const problems: string[] = [];
  const shortest = owner.isAdmin ? SHORTEST_OF_ADMINS : SHORTEST;
  const length = [...password].length;
  if (length < shortest) {
    problems.push(
      `must have at least ${shortest} characters${owner.isAdmin ? " for an admin" : ""}, and has ${length}.`,
    );
  }
  if (Buffer.byteLength(password) > LONGEST_BYTES) problems.push(`must have at most ${LONGEST_BYTES} bytes.`);
  else if (await isWidelyKnown(password)) {
    problems.push("is among those that are tried first; choose a few words that do not belong together.");
  } else if (await breached.includes(password)) {
    problems.push("has leaked somewhere, and is tried by who reads such lists; choose one that you use nowhere else.");
  }
  if (isMadeOfName(password, owner)) problems.push("is made of your name; choose something that is not known of you.");
  return problems.map((description) => ({ field: "password", description }));
}

function isMadeOfName(password: string, { login, email }: PasswordOwner): boolean {
  const text = password.toLowerCase();
  const names = [login, login.split("@")[0] ?? "", email.split("@")[0] ?? "", "hms-sys", "opsconductor"];
  return names.some((name) => name.length >= 3 && text.includes(name) && text.length - name.length < 8);
}
