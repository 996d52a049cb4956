import type { Invocation } from "../command-spec.ts";
import { followRollout } from "../follow-rollout.ts";

/** Replaces every replica by a new one. */
export async function run(invocation: Invocation): Promise<number> {
  const request = { service: invocation.args[0] ?? "", environment: invocation.globals.environment };
  return followRollout(invocation, (options) => invocation.session().deployments.restart(request, options));
}
