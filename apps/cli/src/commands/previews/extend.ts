import { toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { deployment } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { previewWords } from "../../deploy/preview-words.ts";
import { ExitCode } from "../../exit-code.ts";
import { parseDuration } from "../../parse-option.ts";

/** Moves the end of a preview. */
export async function run({ args, options, session, output, signal }: Invocation): Promise<number> {
  const lifetime = durationFromMs(parseDuration("--expires", String(options.expires)));
  const request = { environment: args[0] ?? "", lifetime, mustExist: true };
  const { preview, warnings } = await session().deployments.setPreview(request, { signal });
  if (preview === undefined) return ExitCode.ERROR;
  if (output.json) output.document(toJson(deployment.PreviewSchema, preview, { alwaysEmitImplicit: true }));
  else output.result(previewWords(preview));
  for (const warning of warnings) output.note(warning);
  return ExitCode.OK;
}
