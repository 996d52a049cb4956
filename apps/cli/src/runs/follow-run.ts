import { setTimeout as pause } from "node:timers/promises";
import { automationRuns } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { enumWord } from "../output/human.ts";
import { parseDuration } from "../parse-option.ts";
import { runClient } from "./run-client.ts";
import { RunPicture } from "./run-picture.ts";
import { createRunView } from "./run-view.ts";

const { NodeState, RunState } = automationRuns;

/** A server that restarts is away for a second or two; a database that recovers takes longer. */
const AWAY_PATIENCE_MS = 60_000;
const AGAIN_MS = 200;

/**
 * Shows a run until it ends and answers with the exit code it deserves. Ctrl-C and `--timeout` end the watching, not the run; a
 * server that restarts meanwhile is waited for.
 */
export async function followRun(invocation: Invocation, runId: string): Promise<number> {
  const { options, output } = invocation;
  const view = createRunView(output);
  const patience = AbortSignal.timeout(Math.ceil(parseDuration("--timeout", String(options.timeout ?? "1h"))));
  const signal = AbortSignal.any([invocation.signal, patience]);
  const picture = new RunPicture();
  try {
    for await (const answer of watchedRun(invocation, { runId, picture, signal })) {
      picture.take(answer);
      view.show(answer, picture);
    }
    view.close();
    return await showEnd(invocation, runId);
  } catch (error) {
    view.close();
    if (!signal.aborted) throw error;
    output.note(`The run goes on; follow it with: hms-sys runs watch ${runId}`);
    return invocation.signal.aborted ? ExitCode.INTERRUPTED : ExitCode.TIMED_OUT;
  }
}

interface Following {
  readonly runId: string;
  readonly picture: RunPicture;
  readonly signal: AbortSignal;
}

/** What happens to a run, each thing once, over restarts of the server. */
export async function* watchedRun(
  { session, globals }: Invocation,
  { runId, picture, signal }: Following,
): AsyncGenerator<automationRuns.WatchRunResponse> {
  let patientUntil = Date.now() + AWAY_PATIENCE_MS;
  while (!picture.hasEnded) {
    try {
      const request = { runId, environment: globals.environment, after: picture.seq };
      for await (const answer of runClient(session()).watchRun(request, { signal })) {
        patientUntil = Date.now() + AWAY_PATIENCE_MS;
        yield answer;
      }
      if (picture.hasEnded) return;
      throw new HmsError("UNAVAILABLE", "The server ended the stream before the run ended.");
    } catch (error) {
      const isAway = error instanceof HmsError && error.code === "UNAVAILABLE";
      if (!isAway || signal.aborted || Date.now() > patientUntil) throw error;
    }
    await pause(AGAIN_MS, undefined, { signal });
  }
}

async function showEnd({ session, globals, output }: Invocation, runId: string): Promise<number> {
  const { run } = await runClient(session()).getRun({ runId, environment: globals.environment });
  const succeeded = run?.state === RunState.SUCCEEDED;
  if (output.json) return succeeded ? ExitCode.OK : ExitCode.NOT_RESTORED;
  const mark = succeeded ? output.paint.good("✓") : output.paint.bad("✗");
  output.result(`${mark} run ${runId} ${enumWord(RunState, run?.state ?? 0)}`);
  for (const { node, target, state, error } of run?.nodes ?? []) {
    if (state !== NodeState.FAILED || error === undefined) continue;
    output.note(`  ${node}${target === "" ? "" : ` (${target})`}: ${error.message}`);
  }
  return succeeded ? ExitCode.OK : ExitCode.NOT_RESTORED;
}
