import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import type { FieldViolation } from "@hms/kernel";
import { dnsLabelProblem } from "./dns-label.ts";
import { normalEndpoints } from "./endpoint-rules.ts";
import { invalid } from "./errors.ts";
import { checkPort, type FieldReport } from "./field-report.ts";
import { normalRoutes } from "./route-rules.ts";
import { normalSplit } from "./split-rules.ts";
import { normalPolicy } from "./traffic-policy.ts";

const HTTP_PORT = 80;
const MOST_PORTS = 32;

function normalPorts(ports: readonly number[], report: FieldReport): number[] {
  if (ports.length > MOST_PORTS) report("service.ports", `has more than ${MOST_PORTS} ports; leave some out.`);
  for (const port of ports) checkPort(port, (description) => report("service.ports", description));
  return [...new Set(ports)].filter((port) => port !== HTTP_PORT).sort((a, b) => a - b);
}

function checkName(name: string, field: string, report: FieldReport): void {
  const problem = dnsLabelProblem(name);
  if (problem) report(field, problem);
}

/**
 * The one form of a traffic picture: defaults filled in, everything sorted, no address; equal pictures have equal bytes.
 * @throws HmsError INVALID_ARGUMENT with every problem.
 */
export function normalPicture(given: mesh.MeshServiceEntry | undefined): mesh.MeshServiceEntry {
  const violations: FieldViolation[] = [];
  const report: FieldReport = (field, description) => violations.push({ field, description });
  const {
    environment = "",
    name = "",
    ports = [],
    endpoints = [],
    routes = [],
    policy,
    expectsReplicas = false,
    split,
    observed = false,
    wakeTimeoutMs = 0n,
  } = given ?? {};
  checkName(environment, "service.environment", report);
  checkName(name, "service.name", report);
  const picture = create(mesh.MeshServiceEntrySchema, {
    environment,
    name,
    ports: normalPorts(ports, report),
    endpoints: normalEndpoints(endpoints, report),
    routes: normalRoutes(routes, report),
    policy: normalPolicy(policy, report),
    expectsReplicas,
    ...(split ? { split: normalSplit(split, endpoints, report) } : {}),
    observed,
    wakeTimeoutMs: normalWakeTimeout(wakeTimeoutMs, report),
  });
  if (violations.length > 0) throw invalid(`The traffic picture of "${name}"`, violations);
  return picture;
}

const LONGEST_WAKE_MS = 3_600_000n;

function normalWakeTimeout(given: bigint, report: FieldReport): bigint {
  if (given < 0n || given > LONGEST_WAKE_MS) {
    report("service.wake_timeout_ms", `${given} is outside of 0 to ${LONGEST_WAKE_MS}.`);
  }
  return given;
}
