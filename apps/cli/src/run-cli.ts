import { existsSync } from "node:fs";
import { hostEnvironment, resolveInstance } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import type { CommandSpec, GlobalOptions, Invocation } from "./command-spec.ts";
import { commands } from "./command-table.ts";
import { ExitCode, exitCodeOf } from "./exit-code.ts";
import { createOutput, type Output } from "./output/output.ts";
import { parseCommandLine } from "./parse-command-line.ts";
import type { Session } from "./session.ts";

/** Runs one command line and answers with its exit code; results go to stdout, everything else to stderr. */
export async function runCli(argv: string[]): Promise<number> {
  tolerateLostReaders();
  if (argv[0] === "__complete") return (await import("./complete.ts")).complete(argv.slice(1));
  const parsed = await parseCommandLine(argv, commands);
  if ("exitCode" in parsed) return parsed.exitCode;
  return runCommand(parsed.command, parsed);
}

/** A reader that leaves early, as `| head -1` does, interrupts a command; it must not crash it. */
function tolerateLostReaders(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }
}

interface ParsedCommand {
  args: string[];
  options: Invocation["options"];
  globals: GlobalOptions;
}

async function runCommand(command: CommandSpec, { args, options, globals }: ParsedCommand): Promise<number> {
  const output = createOutput(globals, hostEnvironment());
  const interruption = new AbortController();
  const onInterrupt = () => interruption.abort(new HmsError("CANCELLED", "Interrupted."));
  process.once("SIGINT", onInterrupt);
  process.stdout.on("error", onInterrupt);
  let session: Session | undefined;
  const openSession = command.offline ? undefined : (await import("./session.ts")).openSession;
  let personToken: string | undefined;
  const invocation: Invocation = {
    args,
    options,
    globals,
    output,
    signal: interruption.signal,
    session: () => {
      session ??= openSession?.(globals, personToken);
      if (session === undefined)
        throw new HmsError("INTERNAL", `${command.name} is marked offline, but wants the platform.`);
      return session;
    },
  };
  try {
    if (command.asPerson !== false && !command.offline) personToken = await personTokenOf(globals, interruption.signal);
    const { run } = await command.load();
    return await run(invocation);
  } catch (error) {
    return report(error, output);
  } finally {
    process.removeListener("SIGINT", onInterrupt);
    process.stdout.removeListener("error", onInterrupt);
    await session?.close();
  }
}

/** Only who has signed in pays for loading what refreshes tokens. */
async function personTokenOf(globals: GlobalOptions, signal: AbortSignal): Promise<string | undefined> {
  const paths = resolveInstance(globals);
  if (!existsSync(paths.login)) return undefined;
  return (await import("./login/current-login.ts")).currentToken(paths, signal);
}

function report(thrown: unknown, output: Output): number {
  const error = HmsError.from(thrown);
  // Whoever stopped reading knows why the command ends.
  if (process.stdout.errored !== null && error.code === "CANCELLED") return ExitCode.INTERRUPTED;
  output.error(error);
  return error.code === "INTERNAL" && error.cause !== undefined ? ExitCode.ERROR : exitCodeOf(error);
}
