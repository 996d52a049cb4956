import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { automationRuns } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { followRun } from "../../runs/follow-run.ts";
import { readInputs, readLabelOptions, repeated } from "../../runs/named-values.ts";
import { runClient } from "../../runs/run-client.ts";
import { type RunFile, readRunFile } from "../../runs/run-file.ts";
import { runJson } from "../../runs/run-json.ts";

const ON_LIMIT = {
  queue: automationRuns.OnLimit.QUEUE,
  cancel_running: automationRuns.OnLimit.CANCEL_RUNNING,
  reject: automationRuns.OnLimit.REJECT,
} as const;

/** Starts a run of a file's graph. */
export async function run(invocation: Invocation): Promise<number> {
  const { args, options, output } = invocation;
  const inputs = readInputs(repeated(options.input));
  const labels = readLabelOptions(repeated(options.label));
  const file = readRunFile(args[0] ?? "");
  const wanted = { ...file, inputs: { ...file.inputs, ...inputs }, labels: { ...file.labels, ...labels } };
  const { run: started, warnings } = await start(invocation, wanted);
  const runId = started?.runId ?? "";
  for (const warning of warnings) output.note(`${output.paint.warn("!")} ${warning}`);
  if (options.wait === true) return await followRun(invocation, runId);
  if (output.json && started) output.document(runJson(started));
  else output.result(runId);
  output.note(`Follow it with: hms-sys runs watch ${runId}`);
  return ExitCode.OK;
}

async function start({ globals, options, session, signal }: Invocation, file: RunFile) {
  const { graph, inputs, labels, timeoutMs, priority, concurrency } = file;
  // With a key it may be asked for again when it is unclear whether it was started.
  const idempotencyKey = typeof options.key === "string" ? options.key : crypto.randomUUID();
  const request = {
    environment: globals.environment,
    graph,
    inputs,
    labels: { ...labels },
    priority,
    idempotencyKey,
    ...(timeoutMs === undefined ? {} : { timeout: durationFromMs(timeoutMs) }),
    ...(concurrency === undefined ? {} : { concurrency: { ...concurrency, onLimit: ON_LIMIT[concurrency.onLimit] } }),
  };
  try {
    return await runClient(session()).startRun(request, { signal });
  } catch (error) {
    const failure = HmsError.from(error);
    // Others with its concurrency key run: as a deploy finds its service locked.
    if (failure.details.reason === "CONCURRENCY_LIMIT") {
      throw new HmsError("ABORTED", failure.message, { ...failure.details, cause: failure });
    }
    throw file.placed(failure);
  }
}
