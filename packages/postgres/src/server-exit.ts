import { type ErrorCode, HmsError } from "@hms/kernel";

interface Cause {
  pattern: RegExp;
  code: ErrorCode;
  reason: string;
  advice: string;
}

const CAUSES: Cause[] = [
  {
    pattern: /No space left on device|Disk quota exceeded/,
    code: "RESOURCE_EXHAUSTED",
    reason: "DISK_FULL",
    advice: "The disk is full. Free space on it and start again; no committed data is lost.",
  },
  {
    pattern: /lock file ".*" already exists|pre-existing shared memory block/,
    code: "FAILED_PRECONDITION",
    reason: "POSTGRES_ALREADY_RUNNING",
    advice: "Another PostgreSQL server uses this data directory. Stop that one first.",
  },
  {
    pattern: /database files are incompatible with server/,
    code: "FAILED_PRECONDITION",
    reason: "POSTGRES_VERSION",
    advice: "The data directory belongs to another version of PostgreSQL. Start it with the release that wrote it.",
  },
  {
    pattern:
      /could not locate a valid checkpoint record|invalid page in block|could not read block|page verification failed/,
    code: "DATA_LOSS",
    reason: "POSTGRES_DAMAGED",
    advice: "The data directory is damaged. Restore it from a backup; check the disk.",
  },
  {
    pattern: /has wrong ownership|has invalid permissions|Permission denied/,
    code: "PERMISSION_DENIED",
    reason: "POSTGRES_PERMISSIONS",
    advice: "The data directory has a foreign owner or mode. Give it back to the user who starts the platform.",
  },
  {
    pattern: /configuration file ".*" contains errors|unrecognized configuration parameter|invalid value for parameter/,
    code: "FAILED_PRECONDITION",
    reason: "POSTGRES_SETTINGS",
    advice: "A setting in postgresql.local.conf is wrong. Correct or remove it.",
  },
  {
    pattern: /error while loading shared libraries|cannot open shared object file/,
    code: "FAILED_PRECONDITION",
    reason: "POSTGRES_LIBRARIES",
    advice: "The PostgreSQL binaries are incomplete. Install dependencies again, or set DATABASE_URL.",
  },
  {
    pattern: /Cannot allocate memory|could not (?:create|resize|map) .*shared memory/,
    code: "RESOURCE_EXHAUSTED",
    reason: "OUT_OF_MEMORY",
    advice: "The machine has too little memory for PostgreSQL. Free some and start again.",
  },
];

const ROUTINE = /LOG:\s+(?:starting PostgreSQL|listening on|database system (?:is|was) (?:ready|shut))/;

/** Says why PostgreSQL or initdb ended, from the last lines it wrote to stderr: what, why and what to do. */
export function explainServerExit(log: string): HmsError {
  const lines = log.split("\n").filter((line) => line.trim() !== "" && !ROUTINE.test(line));
  const quote = lines.slice(-4).join("\n");
  const cause = CAUSES.find(({ pattern }) => pattern.test(quote)) ?? CAUSES.find(({ pattern }) => pattern.test(log));
  if (cause) return new HmsError(cause.code, `${cause.advice} PostgreSQL said:\n${quote}`, { reason: cause.reason });
  return new HmsError("INTERNAL", `PostgreSQL ended without saying why it could not go on. Its last words:\n${quote}`, {
    reason: "POSTGRES_ENDED",
  });
}
