import { toJson } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { agent } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { parseCount, parseSince } from "../parse-option.ts";

/** Shows what a service wrote, oldest first; times are UTC. Following ends with Ctrl-C and exit code 130. */
export async function run({ args, options, globals, session, output, signal }: Invocation): Promise<number> {
  const since = typeof options.since === "string" ? { since: timestampFromDate(parseSince(options.since)) } : {};
  const request = {
    service: args[0] ?? "",
    environment: globals.environment,
    replicaId: typeof options.replica === "string" ? options.replica : "",
    tail: parseCount("--tail", String(options.tail), 0),
    follow: options.follow === true,
    contains: typeof options.grep === "string" ? options.grep : "",
    ...since,
  };
  try {
    for await (const { lines } of session().deployments.readLogs(request, { signal })) {
      for (const line of lines) {
        if (output.json) output.jsonLine(toJson(agent.LogLineSchema, line, { alwaysEmitImplicit: true }));
        else process.stdout.write(render(line, output));
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    return ExitCode.INTERRUPTED;
  }
  return ExitCode.OK;
}

function render({ time, replicaId, stream, text, continues }: agent.LogLine, { paint }: Invocation["output"]): string {
  const clock = time ? timestampDate(time).toISOString() : "";
  const words = stream === agent.LogStream.SYSTEM ? paint.dim(`-- ${text}`) : text;
  return `${paint.dim(clock)} ${paint.strong(replicaId.split("/").slice(2).join("/") || replicaId)} ${words}${continues ? " ↩" : ""}\n`;
}
