import { hostEnvironment, productVersion } from "@hms/config";
import { Command, CommanderError, Option } from "commander";
import type { CommandSpec, GlobalOptions, Invocation, OptionSpec } from "./command-spec.ts";
import { commandGroups } from "./command-table.ts";
import { ExitCode } from "./exit-code.ts";

/** A command line that names a command, or the exit code of one that has been answered already (help, usage error). */
export type ParsedLine =
  | { command: CommandSpec; args: string[]; options: Invocation["options"]; globals: GlobalOptions }
  | { exitCode: number };

/** Options that every command takes. */
export const globalFlags: OptionSpec[] = [
  { flags: "-o, --output <format>", summary: "text or json", completes: ["text", "json"] },
  {
    flags: "-e, --env <name>",
    summary: "the environment to act on; default $HMS_ENVIRONMENT, else default",
    completes: "environment",
  },
  { flags: "-q, --quiet", summary: "results and errors only" },
  { flags: "--instance <name>", summary: "which installation on this machine; default $HMS_INSTANCE, else default" },
  { flags: "--data <directory>", summary: "its data directory; default $HMS_DATA, else the XDG state folder" },
];

function addGlobals(command: Command): Command {
  for (const { flags, summary } of globalFlags) {
    const option = new Option(flags, summary);
    if (flags.startsWith("-o")) option.choices(["text", "json"]);
    command.addOption(option.hideHelp(command.parent !== null));
  }
  return command;
}

/**
 * A command that the command line does not name: no more than the list of commands shows of it. Making a hundred whole ones
 * takes longer than the rest of `--help`.
 */
function addListed(program: Command, { name, group, summary, args = [] }: CommandSpec): void {
  const [first = "", second] = name.split(" ");
  if (second !== undefined) {
    groupOf(program, first, group);
    return;
  }
  const command = program.command(first).summary(summary).helpGroup(`${group}:`).addOption(anyOption);
  for (const { name: argument, required, variadic } of args) {
    const inner = variadic ? `${argument}...` : argument;
    command.argument(required ? `<${inner}>` : `[${inner}]`);
  }
}

/** Stands for the options that every command has. */
const anyOption = new Option("-o, --output <format>").hideHelp();

function optionOf(spec: NonNullable<CommandSpec["options"]>[number]): Option {
  const { flags, summary, default: without, repeats, hidden = false } = spec;
  const option = new Option(flags, summary).default(without).hideHelp(hidden);
  if (repeats) option.argParser((value, before) => (before === undefined ? value : `${before}\n${value}`));
  return option;
}

function addCommand(program: Command, spec: CommandSpec, chosen: (command: Command) => void): void {
  const [first = "", second] = spec.name.split(" ");
  const parent = second === undefined ? program : groupOf(program, first, spec.group);
  const command = parent
    .command(second ?? first)
    .summary(spec.summary)
    .description(sentence(spec.summary));
  if (second === undefined) command.helpGroup(`${spec.group}:`);
  for (const { name, required, variadic, summary } of spec.args ?? []) {
    const inner = variadic ? `${name}...` : name;
    command.argument(required ? `<${inner}>` : `[${inner}]`, summary);
  }
  for (const option of spec.options ?? []) command.addOption(optionOf(option));
  if (spec.passThrough) command.passThroughOptions();
  if (spec.examples)
    command.addHelpText("after", `\nExamples:\n${spec.examples.map((line) => `  ${line}`).join("\n")}`);
  command.addHelpText("after", "\nOptions of every command, such as -o json and --env: hms-sys --help");
  addGlobals(command).action(() => chosen(command));
}

/** The group of commands, made with its first one. */
function groupOf(program: Command, name: string, helpGroup: string): Command {
  const known = program.commands.find((command) => command.name() === name);
  if (known) return known;
  const summary = commandGroups[name] ?? "";
  const group = program.command(name).summary(summary).description(sentence(summary)).helpGroup(`${helpGroup}:`);
  return addGlobals(group);
}

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

function globalsOf(options: Record<string, string | boolean | undefined>): GlobalOptions {
  const host = hostEnvironment();
  return {
    output: options.output === "json" ? "json" : "text",
    quiet: options.quiet === true,
    instance: options.instance as string | undefined,
    data: options.data as string | undefined,
    environment: (options.env as string | undefined) ?? host.environment ?? "default",
  };
}

/** Reads a command line by the command table; prints help and usage errors itself. */
export async function parseCommandLine(argv: string[], table: CommandSpec[]): Promise<ParsedLine> {
  const program = new Command("hms-sys")
    .description("Deploy services of any language, connect them by name, and see what they do.")
    .version(productVersion(), "-V, --version", "print the version")
    .enablePositionalOptions()
    .showSuggestionAfterError(true)
    .showHelpAfterError("(hms-sys --help lists the commands)")
    .exitOverride();
  addGlobals(program);
  let found: ParsedLine | undefined;
  const words = new Set(argv);
  for (const spec of table) {
    if (!words.has(spec.name.split(" ", 1)[0] ?? "")) {
      addListed(program, spec);
      continue;
    }
    addCommand(program, spec, (command) => {
      // What stands nearer to the end counts.
      const options = { ...program.opts(), ...command.parent?.opts(), ...command.opts() };
      found = { command: spec, args: command.args, options, globals: globalsOf(options) };
    });
  }
  for (const command of program.commands) {
    command.exitOverride().showHelpAfterError(`(hms-sys ${command.name()} --help says more)`);
    for (const inner of command.commands) {
      inner.exitOverride().showHelpAfterError(`(hms-sys ${command.name()} ${inner.name()} --help says more)`);
    }
  }
  try {
    if (argv.length === 0) {
      program.outputHelp();
      return { exitCode: ExitCode.USAGE };
    }
    await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return { exitCode: error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE };
    throw error;
  }
  return found ?? { exitCode: ExitCode.USAGE };
}
