import { toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { deployment } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { humanAge } from "../../output/human.ts";
import { renderTable } from "../../output/table.ts";

/** Lists previews, the next to end first. */
export async function run({ session, output, signal }: Invocation): Promise<number> {
  const { previews } = await session().deployments.listPreviews({}, { signal });
  if (output.json) {
    output.document(previews.map((each) => toJson(deployment.PreviewSchema, each, { alwaysEmitImplicit: true })));
  } else if (previews.length === 0) {
    output.note("There are no previews. Make one: hms-sys deploy FILE --preview NAME --expires 24h");
  } else {
    const rows = previews.map(({ environment, baseEnvironment, expiresAt, services, owner, createdAt }) => [
      environment,
      baseEnvironment,
      expiresAt ? timestampDate(expiresAt).toISOString() : "",
      services.join(", "),
      owner,
      humanAge(createdAt),
    ]);
    for (const line of renderTable(["PREVIEW", "OF", "UNTIL", "SERVICES", "BY", "SINCE"], rows)) output.result(line);
  }
  return ExitCode.OK;
}
