import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { readNetwork } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { parseDuration } from "../parse-option.ts";
import { previewWords } from "./preview-words.ts";

/**
 * Makes the environment that `--preview` names, or moves its end; answers with the invocation as if that environment had been
 * chosen. Without the option nothing changes. @throws HmsError INVALID_ARGUMENT for --expires without --preview
 */
export async function inPreview(invocation: Invocation): Promise<Invocation> {
  const { options, globals, session, output, signal } = invocation;
  if (options.preview === undefined) {
    if (options.expires === undefined) return invocation;
    throw new HmsError("INVALID_ARGUMENT", "--expires is about previews. Say --preview NAME, too, or leave it out.");
  }
  const environment = String(options.preview);
  // Another deploy to a preview leaves its end where it is, unless it says one.
  const lifetime =
    options.expires === undefined
      ? {}
      : { lifetime: durationFromMs(parseDuration("--expires", String(options.expires))) };
  const request = { environment, baseEnvironment: globals.environment, ...lifetime };
  const { preview, warnings } = await session().deployments.setPreview(request, { signal });
  const port = readNetwork(session().paths)?.gatewayPort;
  const at = port === undefined ? "" : `: http://${environment}.localhost:${port}`;
  if (preview) output.note(`${previewWords(preview)}${at}`);
  for (const warning of warnings) output.note(warning);
  return { ...invocation, globals: { ...globals, environment } };
}
