import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import type { FieldReport } from "./field-report.ts";

const DEFAULT_REQUEST_TIMEOUT_MS = 30_000n;
const DEFAULT_CONNECT_TIMEOUT_MS = 1000n;
const DEFAULT_RETRIES = 1;
const LONGEST_TIMEOUT_MS = 3_600_000n;
const MOST_RETRIES = 10;
const MOST_FAILURES = 1000;

function checkTimeout(value: bigint, field: string, report: FieldReport): void {
  if (value < 1n || value > LONGEST_TIMEOUT_MS) {
    report(`service.policy.${field}`, `${value} ms is no timeout; use 1 to ${LONGEST_TIMEOUT_MS}.`);
  }
}

/** A policy with every default filled in. */
export function normalPolicy(given: mesh.TrafficPolicy | undefined, report: FieldReport): mesh.TrafficPolicy {
  const requestTimeoutMs = given?.requestTimeoutMs || DEFAULT_REQUEST_TIMEOUT_MS;
  const connectTimeoutMs = given?.connectTimeoutMs || DEFAULT_CONNECT_TIMEOUT_MS;
  const retries = given?.retries ?? DEFAULT_RETRIES;
  checkTimeout(requestTimeoutMs, "request_timeout_ms", report);
  checkTimeout(connectTimeoutMs, "connect_timeout_ms", report);
  if (retries < 0 || retries > MOST_RETRIES) {
    report("service.policy.retries", `${retries} is no number of retries; use 0 to ${MOST_RETRIES}.`);
  }
  const retryPost = given?.retryPost ?? false;
  const breaker = given?.breaker ? { breaker: normalBreaker(given.breaker, report) } : {};
  return create(mesh.TrafficPolicySchema, { requestTimeoutMs, connectTimeoutMs, retries, retryPost, ...breaker });
}

function normalBreaker({ failures, openMs }: mesh.Breaker, report: FieldReport): mesh.Breaker {
  if (failures < 1 || failures > MOST_FAILURES) {
    report("service.policy.breaker.failures", `${failures} is no number of failures; use 1 to ${MOST_FAILURES}.`);
  }
  checkTimeout(openMs, "breaker.open_ms", report);
  return create(mesh.BreakerSchema, { failures, openMs });
}
