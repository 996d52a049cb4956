import { hasAnother, pickEndpoint, type Seeker } from "./division.ts";
import type { Endpoint } from "./endpoint.ts";
import { decideRetry, type FailedAttempt } from "./retry-policy.ts";

/**
 * What becomes of a request after a failed attempt: "reconnect" and "retry" go where it has not been, "retry-anywhere" to
 * where it has been, because there is nothing else. What is tried again is counted, and paid for from the service's budget.
 */
export function nextAttempt(
  seeker: Seeker,
  attempt: FailedAttempt,
  { now, passed }: { now: number; passed: readonly Endpoint[] },
): "reconnect" | "retry" | "retry-anywhere" | "give-up" {
  const { service } = seeker.target;
  const decision = decideRetry(attempt, service.policy);
  if (decision === "give-up") return decision;
  if (decision === "reconnect") {
    if (pickEndpoint(seeker, now, passed) === null) return "give-up";
    service.metrics.reconnects++;
    return decision;
  }
  if (!service.budget.withdraw(now)) return "give-up";
  service.metrics.retries++;
  return hasAnother(seeker, now, passed) ? "retry" : "retry-anywhere";
}
