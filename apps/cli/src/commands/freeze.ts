import { toJson } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { deployment } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { freezeWords } from "../output/freeze-words.ts";
import { parseDuration } from "../parse-option.ts";

/** Refuses deploys for a time. */
export async function run({ args, options, globals, session, output, signal }: Invocation): Promise<number> {
  const forMs = parseDuration("--for", String(options.for ?? ""));
  const request = {
    service: args[0] ?? "",
    environment: globals.environment,
    until: timestampFromMs(Date.now() + forMs),
    reason: String(options.reason ?? ""),
  };
  const { freeze } = await session().deployments.freeze(request, { signal });
  if (freeze === undefined) return ExitCode.ERROR;
  if (output.json) output.document(toJson(deployment.DeployFreezeSchema, freeze, { alwaysEmitImplicit: true }));
  else output.result(freezeWords(freeze));
  return ExitCode.OK;
}
