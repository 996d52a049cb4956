import { toJson } from "@bufbuild/protobuf";
import { deployment } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { enumWord, humanAge } from "../output/human.ts";
import { renderChange } from "../output/render-failure.ts";
import { renderTable } from "../output/table.ts";
import { parseCount } from "../parse-option.ts";

/** Lists a service's rollouts, newest first. */
export async function run({ args, options, globals, session, output, signal }: Invocation): Promise<number> {
  const limit = parseCount("--limit", String(options.limit), 1);
  const rollouts: deployment.RolloutSummary[] = [];
  let pageToken = "";
  do {
    const request = {
      service: args[0] ?? "",
      environment: globals.environment,
      pageSize: Math.min(200, limit - rollouts.length),
      pageToken,
      withChanges: options.diff === true,
    };
    const page = await session().deployments.listRollouts(request, { signal });
    rollouts.push(...page.rollouts);
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && rollouts.length < limit);
  if (output.json) {
    output.document(
      rollouts.map((rollout) => toJson(deployment.RolloutSummarySchema, rollout, { alwaysEmitImplicit: true })),
    );
    return ExitCode.OK;
  }
  const head = ["ROLLOUT", "KIND", "STATE", "REVISION", "BEFORE", "VERSION", "TAG", "STARTED", "BY", "WHY", "WHY NOT"];
  const [first = "", ...lines] = renderTable(head, rollouts.map(row));
  output.result(first);
  for (const [index, line] of lines.entries()) {
    output.result(line);
    for (const change of rollouts[index]?.changes ?? []) output.result(`  ${renderChange(change, output.paint)}`);
  }
  return ExitCode.OK;
}

function row(rollout: deployment.RolloutSummary): string[] {
  return [
    rollout.rolloutId,
    enumWord(deployment.RolloutKind, rollout.kind),
    enumWord(deployment.RolloutState, rollout.state),
    String(rollout.revision),
    String(rollout.previousRevision),
    rollout.version,
    rollout.tag,
    humanAge(rollout.startedAt),
    rollout.principal,
    rollout.reason,
    rollout.failureReason,
  ];
}
