import type { Invocation } from "../command-spec.ts";
import { followRollout } from "../follow-rollout.ts";
import { parseCount } from "../parse-option.ts";

/** Returns to an earlier revision. */
export async function run(invocation: Invocation): Promise<number> {
  const { args, options, globals } = invocation;
  const revision = typeof options.to === "string" ? BigInt(parseCount("--to", options.to, 1)) : 0n;
  const request = { service: args[0] ?? "", environment: globals.environment, revision };
  return followRollout(invocation, (options) => invocation.session().deployments.rollback(request, options));
}
