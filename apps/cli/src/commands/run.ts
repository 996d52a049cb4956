import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";

/** Runs one command in a service's surroundings and answers with its exit code; 128 + n for signal n is 1 here. */
export async function run({ args, globals, session, output, signal }: Invocation): Promise<number> {
  const [service = "", ...rest] = args;
  const command = rest[0] === "--" ? rest.slice(1) : rest;
  const request = { service, environment: globals.environment, command };
  for await (const { event } of session().deployments.runCommand(request, { signal })) {
    if (event.case === "output") show(event.value, output);
    if (event.case === "exit") return endOf(event.value, output);
  }
  throw new HmsError("UNAVAILABLE", "The server ended the stream before the command ended.");
}

function endOf(exit: agent.ExitStatus, output: Invocation["output"]): number {
  const { code, signal, outOfMemory, launchError } = exit;
  if (output.json) output.jsonLine({ exit: { code, signal, outOfMemory, launchError } });
  if (launchError) throw new HmsError("FAILED_PRECONDITION", launchError);
  if (signal)
    output.note(outOfMemory ? "The command was ended by its memory limit." : `The command was ended by ${signal}.`);
  return signal ? ExitCode.ERROR : code;
}

function show({ stream, data }: agent.OutputChunk, output: Invocation["output"]): void {
  const toError = stream === agent.LogStream.STDERR;
  if (output.json) output.jsonLine({ stream: toError ? "stderr" : "stdout", text: Buffer.from(data).toString() });
  else (toError ? process.stderr : process.stdout).write(data);
}
