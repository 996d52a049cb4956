import { HmsError, type Principal } from "@hms/kernel";

/** Who changes how somebody comes in must have shown who they are within this time. */
const FRESH_MS = 5 * 60_000;

/** Whether somebody has shown lately who they are. */
export const isLately = (authenticatedAtMs: number) => Date.now() - authenticatedAtMs < FRESH_MS;

/**
 * Whether the caller is a person who is signed in, and no key or program of its own: those who hold one of somebody's keys
 * do not get hold of what outlives it. The operator, who has the machine, is let through.
 * @throws HmsError PERMISSION_DENIED
 */
export function assertInPerson({ kind, authenticatedAtMs }: Principal): void {
  if (kind === "operator" || authenticatedAtMs !== undefined) return;
  const message =
    "This changes how somebody comes in, and no API key can do it. Sign in (hms-sys login, or the platform's pages) and repeat it.";
  throw new HmsError("PERMISSION_DENIED", message, { reason: "SIGN_IN_REQUIRED" });
}

/**
 * As `assertInPerson`, and within the last five minutes.
 * @throws HmsError PERMISSION_DENIED
 */
export function assertFresh(principal: Principal): void {
  assertInPerson(principal);
  if (principal.kind === "operator" || isLately(principal.authenticatedAtMs ?? 0)) return;
  const message =
    "This changes how somebody comes in: show again who you are, at most five minutes before. Sign in anew (hms-sys login, or the platform's pages) and repeat it.";
  throw new HmsError("PERMISSION_DENIED", message, {
    reason: "STEP_UP_REQUIRED",
    metadata: { max_age: String(FRESH_MS / 1000) },
  });
}
