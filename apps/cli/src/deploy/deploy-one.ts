import { create } from "@bufbuild/protobuf";
import { deployment } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { followRollout } from "../follow-rollout.ts";
import type { LocalManifest } from "../read-manifest.ts";

/** What a deploy of a manifest asks for, with the command's options. */
export function deployRequest(
  { options, globals }: Pick<Invocation, "options" | "globals">,
  { manifest, manifestPath, variables }: LocalManifest,
): deployment.DeployRequest {
  const strategy = options.bg === true ? "blue-green" : String(options.strategy ?? "");
  return create(deployment.DeployRequestSchema, {
    ...{ manifest, manifestPath, variables, environment: globals.environment, strategy },
    refuseIfLocked: options.waitLock === false,
    reason: String(options.reason ?? ""),
    tag: String(options.tag ?? ""),
    planId: String(options.plan ?? ""),
    overrideFreeze: options.overrideFreeze === true,
  });
}

/** Deploys one manifest and shows what happens; answers with the exit code. */
export function deployOne(invocation: Invocation, manifest: LocalManifest): Promise<number> {
  const request = deployRequest(invocation, manifest);
  return followRollout(invocation, (options) => invocation.session().deployments.deploy(request, options));
}
