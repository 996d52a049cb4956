import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { toJson } from "@bufbuild/protobuf";
import { deployment } from "@hms/contracts";
import type { CallOptions } from "@hms/kernel";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "./command-spec.ts";
import { ExitCode } from "./exit-code.ts";
import { renderFailure } from "./output/render-failure.ts";
import { createRolloutView } from "./output/rollout-view.ts";
import { parseDuration } from "./parse-option.ts";

/** A server that restarts is away for a second or two; a database that recovers takes longer. */
const AWAY_PATIENCE_MS = 60_000;
const AGAIN_MS = 200;

const json = (event: deployment.RolloutEvent) => toJson(deployment.RolloutEventSchema, event);

/**
 * Shows a rollout until it ends and answers with the exit code it deserves. Ctrl-C, `--detach` and `--timeout` end the
 * watching, not the rollout; a server that restarts meanwhile is waited for.
 */
export async function followRollout(
  invocation: Invocation,
  start: (options: CallOptions) => AsyncIterable<deployment.RolloutEvent>,
): Promise<number> {
  const { options, output } = invocation;
  const view = createRolloutView(output, json);
  const patience = AbortSignal.timeout(Math.ceil(parseDuration("--timeout", String(options.timeout ?? "15m"))));
  const signal = AbortSignal.any([invocation.signal, patience]);
  const progress: Progress = { rolloutId: "", sequence: 0n };
  try {
    for await (const event of resumed(invocation, start, { progress, signal })) {
      view.show(event);
      if (event.event.case === "ended") {
        view.close();
        return showEnd(event.event.value, invocation);
      }
      if (options.detach === true && event.event.case !== "planned") break;
    }
    view.close();
    if (!output.json) output.result(progress.rolloutId);
    output.note(`It goes on; follow it with: hms-sys watch ${progress.rolloutId}`);
    return ExitCode.OK;
  } catch (error) {
    view.close();
    if (progress.rolloutId === "" || !signal.aborted) throw error;
    output.note(`The rollout goes on; follow it with: hms-sys watch ${progress.rolloutId}`);
    return invocation.signal.aborted ? ExitCode.INTERRUPTED : ExitCode.TIMED_OUT;
  }
}

interface Progress {
  rolloutId: string;
  sequence: bigint;
}

/** The events of a rollout, each once, over restarts of the server. */
async function* resumed(
  invocation: Invocation,
  start: (options: CallOptions) => AsyncIterable<deployment.RolloutEvent>,
  { progress, signal }: { progress: Progress; signal: AbortSignal },
): AsyncGenerator<deployment.RolloutEvent> {
  const options: CallOptions = { signal, metadata: { "x-hms-idempotency-key": newRolloutId() } };
  const patientUntil = Date.now() + AWAY_PATIENCE_MS;
  let events = start(options);
  for (;;) {
    try {
      for await (const event of unseen(events, progress)) {
        yield event;
        if (event.event.case === "ended") return;
      }
      throw new HmsError("UNAVAILABLE", "The server ended the stream before the rollout ended.");
    } catch (error) {
      if (!isServerAway(error) || signal.aborted || Date.now() > patientUntil) throw error;
    }
    await pause(AGAIN_MS, undefined, { signal });
    events =
      progress.rolloutId === "" ? start(options) : invocation.session().deployments.watchRollout(progress, options);
  }
}

/** The events that have not been shown yet, noted as shown. */
async function* unseen(
  events: AsyncIterable<deployment.RolloutEvent>,
  progress: Progress,
): AsyncGenerator<deployment.RolloutEvent> {
  for await (const event of events) {
    if (event.rolloutId === progress.rolloutId && event.sequence <= progress.sequence) continue;
    Object.assign(progress, { rolloutId: event.rolloutId, sequence: event.sequence });
    yield event;
  }
}

const isServerAway = (error: unknown) => error instanceof HmsError && error.code === "UNAVAILABLE";

/** A key of one rollout: the request can be repeated when its answer was lost, and begins no second one. */
function newRolloutId(): string {
  return `${Date.now().toString(36)}${randomBytes(3).toString("hex")}`;
}

function showEnd(ended: deployment.RolloutEnded, { output }: Invocation): number {
  if (ended.state === deployment.RolloutState.SUCCEEDED) {
    if (!output.json) for (const url of ended.serviceUrls) output.result(`Service URL: ${url}`);
    return ExitCode.OK;
  }
  const restored = ended.state === deployment.RolloutState.ROLLED_BACK;
  if (ended.failure && !output.json) for (const line of renderFailure(ended.failure, output.paint)) output.note(line);
  output.note(aftermath(restored, ended.revision));
  return restored ? ExitCode.ROLLED_BACK : ExitCode.NOT_RESTORED;
}

function aftermath(restored: boolean, revision: bigint): string {
  if (!restored) return "Failed and not restored: see `hms-sys status`.";
  if (revision === 0n) return "Rolled back: nothing served before, and nothing serves now.";
  return `Rolled back: revision ${revision}, which served before, serves.`;
}
