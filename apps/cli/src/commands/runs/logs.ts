import { setTimeout as pause } from "node:timers/promises";
import { toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { automationRuns } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { runClient } from "../../runs/run-client.ts";

const { ReadRunLogsResponseSchema } = automationRuns;

const AWAY_PATIENCE_MS = 60_000;
const AGAIN_MS = 200;

/** Shows what a run's steps have said, oldest first; times are UTC. A server that restarts is waited for. */
export async function run(invocation: Invocation): Promise<number> {
  const { args, options, globals, signal } = invocation;
  const text = (name: string) => (typeof options[name] === "string" ? (options[name] as string) : "");
  const place: Place = {
    runId: args[0] ?? "",
    environment: globals.environment,
    node: text("node"),
    target: text("target"),
    follow: options.follow === true,
    after: "",
    patientUntil: Date.now() + AWAY_PATIENCE_MS,
  };
  for (;;) {
    try {
      await show(invocation, place);
      return ExitCode.OK;
    } catch (error) {
      if (signal.aborted) return ExitCode.INTERRUPTED;
      const isAway = error instanceof HmsError && error.code === "UNAVAILABLE";
      if (!isAway || Date.now() > place.patientUntil) throw error;
      await pause(AGAIN_MS);
    }
  }
}

/** What is read, from where on, and until when a server that is away is waited for. */
interface Place {
  readonly runId: string;
  readonly environment: string;
  readonly node: string;
  readonly target: string;
  readonly follow: boolean;
  after: string;
  patientUntil: number;
}

async function show({ session, output, signal }: Invocation, place: Place): Promise<void> {
  const { patientUntil: _, ...request } = place;
  for await (const piece of runClient(session()).readRunLogs(request, { signal })) {
    Object.assign(place, { after: piece.cursor, patientUntil: Date.now() + AWAY_PATIENCE_MS });
    if (output.json) output.jsonLine(toJson(ReadRunLogsResponseSchema, piece, { alwaysEmitImplicit: true }));
    else for (const line of linesOf(piece)) output.result(line);
  }
}

function linesOf({ time, node, target, attempt, text }: automationRuns.ReadRunLogsResponse): string[] {
  const clock = time ? timestampDate(time).toISOString() : "";
  const who = `${node}${target === "" ? "" : ` (${target})`}${attempt > 1 ? ` #${attempt}` : ""}`;
  return text
    .replace(/\n$/, "")
    .split("\n")
    .map((line) => `${clock} ${who} ${line}`);
}
