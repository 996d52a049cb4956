import type { Invocation } from "../command-spec.ts";
import { followRollout } from "../follow-rollout.ts";
import { parseCount } from "../parse-option.ts";

/** Sets the number of replicas, or leaves it to the load. */
export async function run(invocation: Invocation): Promise<number> {
  const { args, options, globals } = invocation;
  const automatic = args[1] === "auto";
  const replicas = automatic ? 0 : parseCount("The number of replicas, if it is not auto,", args[1] ?? "", 1);
  const request = {
    service: args[0] ?? "",
    environment: globals.environment,
    replicas,
    automatic,
    reason: String(options.reason ?? ""),
  };
  return followRollout(invocation, (options) => invocation.session().deployments.scale(request, options));
}
