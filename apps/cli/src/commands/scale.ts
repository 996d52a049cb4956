import type { Invocation } from "../command-spec.ts";
import { followRollout } from "../follow-rollout.ts";
import { parseCount } from "../parse-option.ts";

/** Sets the number of replicas. */
export async function run(invocation: Invocation): Promise<number> {
  const { args, options, globals } = invocation;
  const replicas = parseCount("The number of replicas", args[1] ?? "", 1);
  const request = {
    service: args[0] ?? "",
    environment: globals.environment,
    replicas,
    reason: String(options.reason ?? ""),
  };
  return followRollout(invocation, (options) => invocation.session().deployments.scale(request, options));
}
