import { toJson } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";

/** Replaces one of the platform's own processes. */
export async function run({ args, session, output, signal }: Invocation): Promise<number> {
  const { component } = await session().agent.restartComponent(
    { component: args[0] ?? "" },
    { signal, timeoutMs: 60_000 },
  );
  if (output.json && component) output.document(toJson(agent.ComponentSchema, component));
  else output.result(`${component?.name} restarted, pid ${component?.pid}`);
  return ExitCode.OK;
}
