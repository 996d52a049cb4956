import type { Invocation } from "../command-spec.ts";
import { followRollout } from "../follow-rollout.ts";
import { readManifest } from "../read-manifest.ts";

/** Rolls a manifest out and shows what happens. */
export async function run(invocation: Invocation): Promise<number> {
  const { args, options, globals } = invocation;
  const { manifest, manifestPath, variables } = readManifest(args[0] ?? "");
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
