import { toJson } from "@bufbuild/protobuf";
import { deployment } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";

/** Ends a preview before its time. */
export async function run({ args, session, output, signal }: Invocation): Promise<number> {
  const { preview } = await session().deployments.endPreview({ environment: args[0] ?? "" }, { signal });
  if (preview === undefined) return ExitCode.ERROR;
  if (output.json) output.document(toJson(deployment.PreviewSchema, preview, { alwaysEmitImplicit: true }));
  else output.result(`Preview ${preview.environment} ends; being removed: ${preview.services.join(", ") || "nothing"}`);
  return ExitCode.OK;
}
