import type { HmsError } from "@hms/kernel/errors";

/** The exit codes of every command; scripts rely on them. */
export const ExitCode = {
  OK: 0,
  ERROR: 1,
  USAGE: 2,
  ROLLED_BACK: 3,
  NOT_RESTORED: 4,
  TIMED_OUT: 5,
  LOCKED: 6,
  AUDIT_CHANGED: 7,
  AUDIT_INCOMPLETE: 8,
  PLAN_HAS_CHANGES: 10,
  INTERRUPTED: 130,
} as const;

/** The exit code for an error that ended a command. */
export function exitCodeOf(error: HmsError): number {
  switch (error.code) {
    case "INVALID_ARGUMENT":
      return ExitCode.USAGE;
    case "ABORTED":
      return ExitCode.LOCKED;
    case "DEADLINE_EXCEEDED":
      return ExitCode.TIMED_OUT;
    case "CANCELLED":
      return ExitCode.INTERRUPTED;
    default:
      return ExitCode.ERROR;
  }
}
