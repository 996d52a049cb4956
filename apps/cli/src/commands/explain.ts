import { HmsError } from "@hms/kernel/errors";
import { explainManifest, formatExplanation } from "@hms/manifest";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";

/** Explains the manifest or one of its keys. */
export async function run({ args, output }: Invocation): Promise<number> {
  const [head, ...key] = (args[0] ?? "").split(".");
  if (head !== "manifest") {
    throw new HmsError("INVALID_ARGUMENT", `There is no topic "${args[0]}". Try: hms-sys explain manifest`);
  }
  const explanation = explainManifest(key.join("."));
  if (output.json) output.document(explanation);
  else output.result(formatExplanation(explanation).trimEnd());
  return ExitCode.OK;
}
