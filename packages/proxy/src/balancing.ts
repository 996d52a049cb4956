/** What calls between services share with the proxying engine, for programs that must start without the engine. */
export { Balancer, type Candidate } from "./balancer.ts";
export { LatencyEstimate } from "./latency-estimate.ts";
export { RetryBudget } from "./retry-policy.ts";
