import { type ErrorCode, type ErrorDetails, HmsError } from "@hms/kernel";

/** The fields of pg's DatabaseError that say what went wrong. */
interface PgErrorFields {
  code?: string;
  constraint?: string;
  table?: string;
  syscall?: string;
}

interface Meaning {
  code: ErrorCode;
  reason: string;
  message: string;
}

const gone = "The database connection broke or the database is starting; it usually answers again within seconds.";
const unavailable = (reason: string, message = gone): Meaning => ({ code: "UNAVAILABLE", reason, message });

/** By SQLSTATE (PostgreSQL manual, appendix A), else by its class, the first two characters. */
const BY_SQLSTATE: Record<string, Meaning> = {
  "08": unavailable("CONNECTION_LOST"),
  "57P01": unavailable("DATABASE_STOPPING"),
  "57P02": unavailable("DATABASE_CRASHED"),
  "57P03": unavailable("DATABASE_STARTING"),
  "57P05": unavailable("CONNECTION_LOST"),
  "53300": unavailable("TOO_MANY_CONNECTIONS", "The database has no connection left. Raise max_connections, or wait."),
  "25006": unavailable("DATABASE_READ_ONLY", "The database takes no writes now: it is a standby, or set read-only."),
  "53100": {
    code: "RESOURCE_EXHAUSTED",
    reason: "DISK_FULL",
    message: "The database's disk is full. Free space on it; nothing that was committed is lost.",
  },
  "53": {
    code: "RESOURCE_EXHAUSTED",
    reason: "DATABASE_EXHAUSTED",
    message: "The database is out of memory or slots.",
  },
  "23505": { code: "ALREADY_EXISTS", reason: "UNIQUE", message: "An entry with this key exists already." },
  "23503": {
    code: "FAILED_PRECONDITION",
    reason: "REFERENCE",
    message: "The entry refers to one that does not exist, or is referred to by others.",
  },
  "23P01": { code: "FAILED_PRECONDITION", reason: "EXCLUSION", message: "The entry overlaps with an existing one." },
  "23": { code: "INVALID_ARGUMENT", reason: "CONSTRAINT", message: "The entry breaks a rule of its table." },
  "22": { code: "INVALID_ARGUMENT", reason: "VALUE", message: "A value does not fit its type." },
  "40": { code: "ABORTED", reason: "CONFLICT", message: "Another transaction changed the same entries. Try again." },
  "25P03": { code: "ABORTED", reason: "IDLE_TRANSACTION", message: "The transaction stayed idle too long." },
  "55P03": { code: "ABORTED", reason: "LOCKED", message: "Another transaction holds the lock. Try again." },
  "57014": { code: "DEADLINE_EXCEEDED", reason: "QUERY_TIMEOUT", message: "The query took longer than allowed." },
  "28": {
    code: "UNAUTHENTICATED",
    reason: "DATABASE_PASSWORD",
    message:
      "The database refuses the role or its password. Check DATABASE_URL, or the password files of the installation.",
  },
  "42501": { code: "PERMISSION_DENIED", reason: "DATABASE_RIGHTS", message: "The database role may not do this." },
  "3D000": { code: "NOT_FOUND", reason: "NO_DATABASE", message: "The database does not exist. Create it first." },
  P0001: { code: "FAILED_PRECONDITION", reason: "RAISED", message: "The database refused the change." },
  XX001: { code: "DATA_LOSS", reason: "DAMAGED", message: "The database's files are damaged. Restore a backup." },
  XX002: { code: "DATA_LOSS", reason: "DAMAGED", message: "An index of the database is damaged. Rebuild it." },
};

const BY_NODE_CODE: Record<string, Meaning> = {
  ENOENT: unavailable("DATABASE_DOWN", "The database's socket is not there: it is not running, or is starting."),
  EACCES: {
    code: "PERMISSION_DENIED",
    reason: "DATABASE_SOCKET",
    message: "This user may not open the database's socket.",
  },
};
for (const code of [
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EAGAIN",
]) {
  BY_NODE_CODE[code] = unavailable("DATABASE_DOWN");
}
const certificate: Meaning = {
  code: "FAILED_PRECONDITION",
  reason: "DATABASE_CERTIFICATE",
  message:
    "The database's certificate is not trusted. Add sslrootcert=FILE to DATABASE_URL, or sslmode=no-verify to do without.",
};
for (const code of ["SELF_SIGNED_CERT_IN_CHAIN", "DEPTH_ZERO_SELF_SIGNED_CERT", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"]) {
  BY_NODE_CODE[code] = certificate;
}
BY_NODE_CODE.ERR_TLS_CERT_ALTNAME_INVALID = certificate;

/** pg and its pool report these without a code; the texts are those of pg 8.23. */
const BY_MESSAGE: [RegExp, Meaning][] = [
  [
    /^timeout exceeded when trying to connect/,
    unavailable(
      "POOL_BUSY",
      "No database connection became free in time: the database is overloaded, or does not answer. See hms-sys doctor.",
    ),
  ],
  [
    /^Connection terminated|connection error and is not queryable|was closed and is not queryable|^timeout expired/,
    unavailable("CONNECTION_LOST"),
  ],
  [
    /^Query read timeout/,
    { code: "DEADLINE_EXCEEDED", reason: "QUERY_TIMEOUT", message: "The database did not answer in time." },
  ],
  [
    /after calling end on the pool|driver has already been destroyed/,
    { code: "CANCELLED", reason: "CLOSED", message: "This database handle has been closed." },
  ],
  [
    /^Transaction was rolled back/,
    { code: "ABORTED", reason: "CONFLICT", message: "The transaction was rolled back." },
  ],
];

const isOrdinaryError = (error: unknown): error is Error & PgErrorFields => error instanceof Error;

function meaningOf(error: Error & PgErrorFields): Meaning {
  const { code = "" } = error;
  const byCode =
    BY_SQLSTATE[code] ?? BY_NODE_CODE[code] ?? (/^[0-9A-Z]{5}$/.test(code) ? BY_SQLSTATE[code.slice(0, 2)] : undefined);
  if (byCode) return byCode;
  const byMessage = BY_MESSAGE.find(([pattern]) => pattern.test(error.message));
  if (byMessage) return byMessage[1];
  return {
    code: "INTERNAL",
    reason: "DATABASE_ERROR",
    message: `The database reported an error the platform did not expect (${code || error.name}).`,
  };
}

/** What the rule or table was called, so that a program can branch on it; never values. */
function metadataOf({ code, constraint, table }: PgErrorFields): ErrorDetails {
  const metadata: Record<string, string> = {};
  if (code) metadata.sqlstate = code;
  if (constraint) metadata.constraint = constraint;
  if (table) metadata.table = table;
  return Object.keys(metadata).length > 0 ? { metadata } : {};
}

/**
 * Any error of PostgreSQL, its driver or its socket as an HmsError; ours pass unchanged. The server's own text, which
 * may carry values, stays in `cause`.
 */
export function translatePgError(error: unknown): HmsError {
  if (error instanceof HmsError) return error;
  if (!isOrdinaryError(error) || error.name === "AbortError" || error.name === "TimeoutError")
    return HmsError.from(error);
  const { code, reason, message } = meaningOf(error);
  return new HmsError(code, message, { reason, ...metadataOf(error), cause: error });
}
