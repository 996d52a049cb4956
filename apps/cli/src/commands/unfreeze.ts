import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";

/** Lets deploys go on. */
export async function run({ args, globals, session, output, signal }: Invocation): Promise<number> {
  const [service = ""] = args;
  const { environment } = globals;
  const { ended } = await session().deployments.unfreeze({ service, environment }, { signal });
  if (output.json) output.document({ ended });
  else output.result(ended ? "Deploys go on" : "There was no freeze of exactly that; see hms-sys freezes");
  return ExitCode.OK;
}
