import type { IncomingHttpHeaders } from "node:http";
import { fault } from "./edge-fault.ts";

const GRPC_UNITS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/**
 * The nearest deadline that a request names, in `performance.now()` milliseconds: x-hms-timeout-ms and
 * connect-timeout-ms in milliseconds, grpc-timeout in gRPC's notation; undefined if it names none.
 * @throws EdgeFault INVALID_ARGUMENT for a value that is no duration
 */
export function deadlineOf(headers: IncomingHttpHeaders): number | undefined {
  const own = headers["x-hms-timeout-ms"];
  const connect = headers["connect-timeout-ms"];
  const grpc = headers["grpc-timeout"];
  if (own === undefined && connect === undefined && grpc === undefined) return undefined;
  const timeouts = [
    own === undefined ? undefined : milliseconds("x-hms-timeout-ms", own as string),
    connect === undefined ? undefined : milliseconds("connect-timeout-ms", connect as string),
    grpc === undefined ? undefined : grpcTimeout(grpc as string),
  ];
  return performance.now() + Math.min(...timeouts.filter((timeout) => timeout !== undefined));
}

function milliseconds(name: string, text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw fault("INVALID_ARGUMENT", `${name} must be whole milliseconds in at most ten digits.`);
}

function grpcTimeout(text: string): number {
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  if (digits !== undefined && unit !== undefined) return Number(digits) * (GRPC_UNITS[unit] as number);
  throw fault("INVALID_ARGUMENT", 'grpc-timeout must be at most eight digits and a unit, like "500m" or "2S".');
}
