import type { Invocation } from "../command-spec.ts";
import { followRollout } from "../follow-rollout.ts";

/** Replaces every replica by a new one. */
export async function run(invocation: Invocation): Promise<number> {
  const { args, options, globals } = invocation;
  const request = {
    service: args[0] ?? "",
    environment: globals.environment,
    reason: String(options.reason ?? ""),
    newSecrets: options.newSecrets === true,
  };
  return followRollout(invocation, (options) => invocation.session().deployments.restart(request, options));
}
