import { explainManifest, formatExplanation } from "@hms/manifest";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";

/** Explains the manifest or one of its keys. */
export async function run({ args, output }: Invocation): Promise<number> {
  const explanation = explainManifest((args[0] ?? "").replace(/^manifest(\.|$)/, ""));
  if (output.json) output.document(explanation);
  else output.result(formatExplanation(explanation).trimEnd());
  return ExitCode.OK;
}
