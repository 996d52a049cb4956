import type { Invocation } from "../command-spec.ts";
import { followRollout } from "../follow-rollout.ts";
import type { LocalManifest } from "../read-manifest.ts";

/** Deploys one manifest and shows what happens; answers with the exit code. */
export function deployOne(
  invocation: Invocation,
  { manifest, manifestPath, variables }: LocalManifest,
): Promise<number> {
  const { options, globals } = invocation;
  const refuseIfLocked = options.waitLock === false;
  const strategy = options.bg === true ? "blue-green" : String(options.strategy ?? "");
  const request = {
    ...{ manifest, manifestPath, variables, environment: globals.environment, refuseIfLocked, strategy },
    reason: String(options.reason ?? ""),
    tag: String(options.tag ?? ""),
    planId: String(options.plan ?? ""),
    overrideFreeze: options.overrideFreeze === true,
  };
  return followRollout(invocation, (options) => invocation.session().deployments.deploy(request, options));
}
