/** The gRPC status codes; the numbers travel, the names are what code and people see. */
export const StatusCode = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

/** The name of a gRPC status code. */
export type StatusCodeName = keyof typeof StatusCode;

/** The name of an error: every status code but OK. */
export type ErrorCode = Exclude<StatusCodeName, "OK">;

const names = new Map<number, StatusCodeName>(
  Object.entries(StatusCode).map(([name, number]) => [number, name as StatusCodeName]),
);

/** The name of a status number; UNKNOWN for numbers that gRPC does not define. */
export function statusCodeName(code: number): StatusCodeName {
  return names.get(code) ?? "UNKNOWN";
}
