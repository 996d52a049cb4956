import { toJson } from "@bufbuild/protobuf";
import { agent, deployment } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { renderChange } from "../output/render-failure.ts";
import { readManifest } from "../read-manifest.ts";

/** Says what a deploy would change. */
export async function run({ args, globals, session, output, signal }: Invocation): Promise<number> {
  const { manifest, manifestPath, variables } = readManifest(args[0] ?? "");
  const request = { manifest, manifestPath, variables, environment: globals.environment };
  const plan = await session().deployments.plan(request, { signal });
  const changed = plan.changes.length > 0 || plan.currentRevision === 0n || isOther(plan.program);
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
      ? ["  nothing in the manifest changes"]
      : plan.changes.map((change) => renderChange(change, paint))),
    ...renderProgram(plan.program),
    ...plan.warnings.map((warning) => `${paint.warn("!")} ${warning}`),
    `Zero downtime: ${verdict}`,
    ...plan.zeroDowntimeReasons.map((reason) => `  ${reason}`),
    "Steps:",
    ...plan.steps.map((step, index) => `  ${index + 1}. ${step}`),
    ...(plan.planId === ""
      ? []
      : [`Plan ${plan.planId}: hms-sys deploy FILE --plan ${plan.planId} does exactly this, or nothing`]),
  ];
}

/** A program that could not be compared counts as another one. */
function isOther(program: deployment.ProgramChanges | undefined): boolean {
  return program !== undefined && program.digestBefore !== program.digestAfter;
}

const FILE_MARKS: Record<number, string> = {
  [agent.FileChangeKind.ADDED]: "+",
  [agent.FileChangeKind.CHANGED]: "~",
  [agent.FileChangeKind.REMOVED]: "-",
};

/** The lines about the program's files: none for a first deploy. */
export function renderProgram(program: deployment.ProgramChanges | undefined): string[] {
  if (program === undefined) return [];
  const { notCompared, files, fileCount } = program;
  if (notCompared !== "") return [`  the program's files could not be compared: ${notCompared}`];
  if (!isOther(program)) return ["  nothing in the program's files changes"];
  if (fileCount === 0n) return ["  the program changes"];
  const rest = Number(fileCount) - files.length;
  return [
    `  ${fileCount} ${fileCount === 1n ? "file" : "files"} of the program:`,
    ...files.map(({ path, kind }) => `    ${FILE_MARKS[kind] ?? "?"} ${path}`),
    ...(rest > 0 ? [`    … and ${rest} more`] : []),
  ];
}
