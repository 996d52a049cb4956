/** The error type alone, for programs that must start without loading contracts. */
export { type ErrorDetails, type FieldViolation, HmsError } from "./hms-error.ts";
export { type ErrorCode, StatusCode, type StatusCodeName, statusCodeName } from "./status-code.ts";
