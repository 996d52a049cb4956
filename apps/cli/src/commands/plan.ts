import { toJson } from "@bufbuild/protobuf";
import { deployment } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { renderChange } from "../output/render-failure.ts";
import { readManifest } from "../read-manifest.ts";

/** Says what a deploy would change. */
export async function run({ args, globals, session, output, signal }: Invocation): Promise<number> {
  const { manifest, manifestPath, variables } = readManifest(args[0] ?? "");
  const request = { manifest, manifestPath, variables, environment: globals.environment };
  const plan = await session().deployments.plan(request, { signal });
  const changed = plan.changes.length > 0 || plan.currentRevision === 0n;
  if (output.json) output.document(toJson(deployment.PlanResponseSchema, plan, { alwaysEmitImplicit: true }));
  else for (const line of render(plan, output.paint)) output.result(line);
  return changed ? ExitCode.PLAN_HAS_CHANGES : ExitCode.OK;
}

function render(plan: deployment.PlanResponse, paint: Invocation["output"]["paint"]): string[] {
  const current = plan.currentRevision === 0n ? "nothing yet" : `revision ${plan.currentRevision}`;
  const verdict = plan.zeroDowntime ? paint.good("yes") : paint.bad("no");
  return [
    `${paint.strong(plan.service)}: ${current}`,
    ...(plan.changes.length === 0
      ? ["  nothing in the manifest changes (the program's files are not compared)"]
      : plan.changes.map((change) => renderChange(change, paint))),
    `Zero downtime: ${verdict}`,
    ...plan.zeroDowntimeReasons.map((reason) => `  ${reason}`),
    "Steps:",
    ...plan.steps.map((step, index) => `  ${index + 1}. ${step}`),
  ];
}
