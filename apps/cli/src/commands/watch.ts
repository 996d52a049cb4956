import type { Invocation } from "../command-spec.ts";
import { followRollout } from "../follow-rollout.ts";

/** Follows a rollout from its beginning. */
export async function run(invocation: Invocation): Promise<number> {
  const rolloutId = invocation.args[0] ?? "";
  return followRollout(invocation, (options) => invocation.session().deployments.watchRollout({ rolloutId }, options));
}
