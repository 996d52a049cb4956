import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { followRun } from "../../runs/follow-run.ts";
import { readInputs, repeated } from "../../runs/named-values.ts";
import { runClient } from "../../runs/run-client.ts";
import { runJson } from "../../runs/run-json.ts";

/** Carries an ended run on by a new one; inputs that are given replace those of the same name. */
export async function run(invocation: Invocation): Promise<number> {
  const { args, options, globals, session, output, signal } = invocation;
  const client = runClient(session());
  const named = { runId: args[0] ?? "", environment: globals.environment };
  const inputs = readInputs(repeated(options.input));
  const isEdited = Object.keys(inputs).length > 0;
  const before = isEdited ? (await client.getRun(named, { signal })).run?.inputs : undefined;
  const request = {
    ...named,
    fromNode: typeof options.from === "string" ? options.from : "",
    onlyFailedTargets: options.failedTargets === true,
    idempotencyKey: typeof options.key === "string" ? options.key : crypto.randomUUID(),
    ...(isEdited ? { inputs: { ...before, ...inputs } } : {}),
  };
  const { run: started } = await client.retryRun(request, { signal });
  const runId = started?.runId ?? "";
  if (options.wait === true) return await followRun(invocation, runId);
  if (output.json && started) output.document(runJson(started));
  else output.result(runId);
  output.note(`Follow it with: hms-sys runs watch ${runId}`);
  return ExitCode.OK;
}
