import type { Invocation } from "../command-spec.ts";
import { followRollout } from "../follow-rollout.ts";
import { parseCount } from "../parse-option.ts";

/** Returns to an earlier revision. */
export async function run(invocation: Invocation): Promise<number> {
  const { args, options, globals } = invocation;
  const to = String(options.to ?? "");
  // What is no number is a tag.
  const target = /^\d*$/.test(to) ? { revision: to === "" ? 0n : BigInt(parseCount("--to", to, 1)) } : { tag: to };
  const reason = String(options.reason ?? "");
  const request = { service: args[0] ?? "", environment: globals.environment, ...target, reason };
  return followRollout(invocation, (options) => invocation.session().deployments.rollback(request, options));
}
