import type { mesh } from "@hms/contracts";
import type { FieldViolation } from "@hms/kernel";
import { dnsLabelProblem } from "./dns-label.ts";
import { invalid } from "./errors.ts";
import type { ServiceKey } from "./store.ts";

const NODE_ID = /^[\x21-\x7e]{1,128}$/;
const DEFAULT_DRAIN_MS = 30_000;
const LONGEST_DRAIN_MS = 3_600_000n;
const MOST_ENDPOINTS = 10_000;

function labelViolations(labels: Record<string, string>): FieldViolation[] {
  return Object.entries(labels).flatMap(([field, value]) => {
    const description = dnsLabelProblem(value);
    return description === undefined ? [] : [{ field, description }];
  });
}

/** @throws HmsError INVALID_ARGUMENT if this cannot name an environment. */
export function checkEnvironment(environment: string): void {
  const violations = labelViolations({ environment });
  if (violations.length > 0) throw invalid("The environment", violations);
}

/** @throws HmsError INVALID_ARGUMENT if this cannot name a service of an environment. */
export function checkServiceKey({ environment, name }: ServiceKey): void {
  const violations = labelViolations({ environment, name });
  if (violations.length > 0) throw invalid("The service's name", violations);
}

/** @throws HmsError INVALID_ARGUMENT if this cannot be the id of a data plane. */
export function checkNodeId(nodeId: string): void {
  if (NODE_ID.test(nodeId)) return;
  throw invalid("The data plane's id", [
    { field: "node_id", description: "use 1 to 128 visible ASCII characters, other ones in each process." },
  ]);
}

/**
 * The longest wait in milliseconds, 30 s unless the request says another.
 * @throws HmsError INVALID_ARGUMENT if the request names no endpoint, too many, or no possible wait.
 */
export function checkDrainRequest({ endpointIds, timeoutMs }: mesh.AwaitDrainedRequest): number {
  const violations: FieldViolation[] = [];
  if (endpointIds.length === 0) violations.push({ field: "endpoint_ids", description: "name at least one endpoint." });
  if (endpointIds.length > MOST_ENDPOINTS) {
    violations.push({ field: "endpoint_ids", description: `name at most ${MOST_ENDPOINTS} endpoints.` });
  }
  if (timeoutMs < 0n || timeoutMs > LONGEST_DRAIN_MS) {
    violations.push({ field: "timeout_ms", description: `use 1 to ${LONGEST_DRAIN_MS}, or 0 for 30000.` });
  }
  if (violations.length > 0) throw invalid("The wait", violations);
  return timeoutMs === 0n ? DEFAULT_DRAIN_MS : Number(timeoutMs);
}

const DEFAULT_WAIT_MS = 10_000;
const LONGEST_WAIT_MS = 600_000n;
const MOST_WAITED_FOR = 1_000;

/**
 * The longest wait in milliseconds, 10 s unless the request says another.
 * @throws HmsError INVALID_ARGUMENT with everything that is wrong.
 */
export function checkWaitRequest({ services, timeoutMs }: mesh.AwaitWaitingRequest): number {
  const violations = services.flatMap(({ environment, service }, index) =>
    labelViolations({ [`services[${index}].environment`]: environment, [`services[${index}].service`]: service }),
  );
  if (services.length > MOST_WAITED_FOR) {
    violations.push({ field: "services", description: `${services.length} are more than ${MOST_WAITED_FOR}.` });
  }
  if (timeoutMs < 0n || timeoutMs > LONGEST_WAIT_MS) {
    violations.push({ field: "timeout_ms", description: `${timeoutMs} is outside of 0 to ${LONGEST_WAIT_MS}.` });
  }
  if (violations.length > 0) throw invalid("The wait", violations);
  return Number(timeoutMs) || DEFAULT_WAIT_MS;
}
