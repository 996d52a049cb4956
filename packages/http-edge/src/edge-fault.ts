import { type ErrorCode, HmsError } from "@hms/kernel";
import { HTTP_STATUS } from "./http-status.ts";

/** What HTTP knows more precisely than the seventeen codes. */
export interface FaultTerms {
  /** The HTTP status; default: the code's. */
  status?: number;
  /** Further fields of the answer, names in lower case. */
  headers?: Readonly<Record<string, string>>;
  /** A machine-readable reason in UPPER_SNAKE_CASE. */
  reason?: string;
}

/** An error of the HTTP exchange itself: an HmsError with its own status and header fields. */
export class EdgeFault {
  readonly error: HmsError;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(error: HmsError, { status, headers = {} }: FaultTerms = {}) {
    this.error = error;
    this.status = status ?? HTTP_STATUS[error.code];
    this.headers = headers;
  }

  /** The fault of anything that was thrown. */
  static from(thrown: unknown): EdgeFault {
    return thrown instanceof EdgeFault ? thrown : new EdgeFault(HmsError.from(thrown));
  }
}

/** A fault from its parts. */
export function fault(code: ErrorCode, message: string, terms: FaultTerms = {}): EdgeFault {
  const { reason } = terms;
  return new EdgeFault(new HmsError(code, message, reason === undefined ? {} : { reason }), terms);
}
