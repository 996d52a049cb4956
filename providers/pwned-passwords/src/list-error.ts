import { HmsError } from "@hms/kernel";

/** FAILED_PRECONDITION, reason BREACHED_PASSWORDS_UNUSABLE: what is wrong with a list, and what to do about it. */
export function unusable(path: string, why: string, remedy: string): HmsError {
  const message = `The list of breached passwords, ${path}, cannot be used: ${why}. ${remedy}`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "BREACHED_PASSWORDS_UNUSABLE" });
}

/** What the system said when a file of a list was opened or read, as `unusable`. */
export function unreadable(path: string, error: unknown, remedy: string): HmsError {
  if (error instanceof HmsError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const whys: Readonly<Record<string, string>> = {
    ENOENT: "it is not there",
    EACCES: "the platform may not read it",
  };
  return unusable(path, whys[code ?? ""] ?? message, remedy);
}
