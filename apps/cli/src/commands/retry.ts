import type { Invocation } from "../command-spec.ts";
import { followRollout } from "../follow-rollout.ts";

/** Tries the last deploy that did not succeed once more. */
export async function run(invocation: Invocation): Promise<number> {
  const { args, options, globals } = invocation;
  const request = {
    service: args[0] ?? "",
    environment: globals.environment,
    reason: String(options.reason ?? ""),
    overrideFreeze: options.overrideFreeze === true,
  };
  return followRollout(invocation, (options) => invocation.session().deployments.retry(request, options));
}
