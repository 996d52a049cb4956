export { type ErrorDetails, type FieldViolation, HmsError } from "./hms-error.ts";
export { type ErrorCode, StatusCode, type StatusCodeName, statusCodeName } from "./status-code.ts";
