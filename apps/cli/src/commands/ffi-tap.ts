import { setTimeout as pause } from "node:timers/promises";
import { toJson } from "@bufbuild/protobuf";
import { durationMs, timestampDate, ValueSchema } from "@bufbuild/protobuf/wkt";
import { calls } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { humanDuration } from "../output/human.ts";

/** How long the server may be away before it is tried again. */
const AGAIN_MS = 200;

/** Shows calls as they end until Ctrl-C, over restarts of the server; answers with exit code 130 then. */
export async function run(invocation: Invocation): Promise<number> {
  try {
    for await (const message of live(invocation)) show(message, invocation);
  } catch (error) {
    if (!invocation.signal.aborted) throw error;
  }
  return ExitCode.INTERRUPTED;
}

/** What the taps say, one opened after the other as the server comes and goes; ends by an error only. */
async function* live(invocation: Invocation): AsyncGenerator<calls.TapCallsResponse> {
  const { output, signal } = invocation;
  const progress: Progress = { state: "opening" };
  for (;;) {
    try {
      yield* opened(invocation, progress);
    } catch (error) {
      if (progress.state === "opening" || !isAway(error) || signal.aborted) throw error;
    }
    if (progress.state === "open") output.note("The server is away: calls meanwhile do not show. Waiting for it …");
    progress.state = "away";
    await pause(AGAIN_MS, undefined, { signal });
  }
}

interface Progress {
  state: "opening" | "open" | "away";
}

/** What one tap says until the server ends it. */
async function* opened(invocation: Invocation, progress: Progress): AsyncGenerator<calls.TapCallsResponse> {
  for await (const message of open(invocation)) {
    if (progress.state === "opening") invocation.output.note(greeting(invocation));
    if (progress.state === "away") invocation.output.note("The server is back; calls show again.");
    progress.state = "open";
    yield message;
  }
}

const isAway = (error: unknown) => HmsError.from(error).code === "UNAVAILABLE";

function open({ args, options, globals, session, signal }: Invocation): AsyncIterable<calls.TapCallsResponse> {
  const [, service = "", method = ""] = /^([^/]*)\/?(.*)$/.exec(args[0] ?? "") ?? [];
  const request = {
    service,
    method,
    principal: typeof options.principal === "string" ? options.principal : "",
    errorsOnly: options.errors === true,
    withRequests: options.payload === true,
    // The platform's own methods live in no environment, so the usual one must not hide them.
    environment: globals.environment === "default" ? "" : globals.environment,
  };
  return session().calls.tapCalls(request, { signal });
}

function greeting({ args }: Invocation): string {
  return `Calls ${args[0] === undefined ? "" : `of ${args[0]} `}show here as they end. Ctrl-C ends this.`;
}

function show({ calls: ended, dropped }: calls.TapCallsResponse, invocation: Invocation): void {
  const { output } = invocation;
  for (const call of ended) {
    if (output.json) output.jsonLine(toJson(calls.TappedCallSchema, call, { alwaysEmitImplicit: true }));
    else output.result(line(call, invocation));
  }
  if (dropped === 0n) return;
  if (output.json) output.jsonLine({ dropped: Number(dropped) });
  output.note(`${dropped} calls are missing here: more came than could be shown. Name a service, or --errors.`);
}

function line(call: calls.TappedCall, { output: { paint } }: Invocation): string {
  const { code, reason, request, environment, traceId } = call;
  const time = call.endedAt === undefined ? "" : timestampDate(call.endedAt).toISOString();
  const outcome = code === "OK" ? paint.good(code) : paint.bad(reason === "" ? code : `${code} (${reason})`);
  return [
    paint.dim(time),
    paint.strong(call.method === "" ? call.service : `${call.service}/${call.method}`),
    outcome,
    call.duration === undefined ? "" : shortTime(durationMs(call.duration)),
    call.principal,
    call.transport,
    ...(environment === "" || environment === "default" ? [] : [`env ${environment}`]),
    ...(traceId === "" ? [] : [paint.dim(`trace ${traceId}`)]),
    ...(request === undefined ? [] : [JSON.stringify(toJson(ValueSchema, request))]),
  ].join("  ");
}

function shortTime(ms: number): string {
  return ms < 10 ? `${ms.toFixed(2)} ms` : humanDuration(ms);
}
