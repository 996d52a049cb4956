import { resolveInstance } from "@hms/config";
import { showSealedToken } from "@hms/local-access";
import { openExistingSealingKey } from "@hms/secrets";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";

/** Shows the key that all parts share, for a part on another machine. */
export async function run({ globals, output }: Invocation): Promise<number> {
  const { partKey, sealingKey } = resolveInstance(globals);
  const key = showSealedToken({ path: partKey, sealing: openExistingSealingKey(sealingKey) });
  if (output.json) output.document({ partKey: key });
  else output.result(key);
  return ExitCode.OK;
}
