import { toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { deployment } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { humanAge } from "../output/human.ts";
import { renderTable } from "../output/table.ts";

/** Lists where deploys are refused now. */
export async function run({ options, globals, session, output, signal }: Invocation): Promise<number> {
  const environment = options.allEnvironments === true ? "" : globals.environment;
  const { freezes } = await session().deployments.listFreezes({ environment }, { signal });
  if (output.json) {
    output.document(
      freezes.map((freeze) => toJson(deployment.DeployFreezeSchema, freeze, { alwaysEmitImplicit: true })),
    );
  } else if (freezes.length === 0) {
    output.note("Deploys are refused nowhere. Stop them with: hms-sys freeze [SERVICE] --for 2h --reason TEXT");
  } else {
    const rows = freezes.map(({ environment, service, until, by, since, reason }) => [
      environment,
      service === "" ? "(all)" : service,
      until ? timestampDate(until).toISOString() : "",
      by,
      humanAge(since),
      reason,
    ]);
    for (const line of renderTable(["ENV", "SERVICE", "UNTIL", "BY", "SINCE", "WHY"], rows)) output.result(line);
  }
  return ExitCode.OK;
}
