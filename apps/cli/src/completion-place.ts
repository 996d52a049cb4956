import { hostEnvironment } from "@hms/config";
import type { CommandSpec, Completes, OptionSpec } from "./command-spec.ts";
import { commandGroups, commands } from "./command-table.ts";
import { globalFlags } from "./parse-command-line.ts";

/** A word whose values are known, and what the words before it have chosen. */
export interface Completable {
  completes: Completes;
  environment: string;
  instance: string | undefined;
  data: string | undefined;
  /** The command's first argument; "" if there is none yet. */
  service: string;
  /** The second one. */
  method: string;
}

/** What the last word of an unfinished command line may be. */
export type Place =
  | { kind: "command"; group: string | undefined }
  | { kind: "flag"; flags: [word: string, meaning: string][] }
  | ({ kind: "value" } & Completable)
  | { kind: "unknown" };

/** Reads an unfinished command line, without the program's name; its last word is the one to complete. */
export function whereIs(words: string[]): Place {
  const last = words.at(-1) ?? "";
  const before = readWords(words.slice(0, -1));
  const { command, plain, pending, isForeign } = before;
  if (isForeign) return { kind: "unknown" };
  if (pending) return valuePlace(pending.completes, before);
  if (last.startsWith("-")) return { kind: "flag", flags: flagsOf(command) };
  if (command === undefined) return { kind: "command", group: before.group };
  const args = command.args ?? [];
  const argument = args[plain.length] ?? (args.at(-1)?.variadic ? args.at(-1) : undefined);
  return valuePlace(argument?.completes, before);
}

interface Read {
  command: CommandSpec | undefined;
  /** The group of commands that the first word has chosen. */
  group: string | undefined;
  /** Arguments after the command. */
  plain: string[];
  /** Values by flag, long and short. */
  chosen: Map<string, string>;
  /** The option whose value comes next. */
  pending: OptionSpec | undefined;
  /** True after `--`: what follows belongs to another program. */
  isForeign: boolean;
}

function readWords(words: string[]): Read {
  const read: Read = {
    command: undefined,
    group: undefined,
    plain: [],
    chosen: new Map(),
    pending: undefined,
    isForeign: false,
  };
  for (const word of words) {
    if (read.isForeign) break;
    if (read.pending) choose(read, word);
    else if (word === "--") read.isForeign = true;
    else if (word.startsWith("-")) read.pending = optionsOf(read.command).find((option) => takes(option, word));
    else if (read.command) read.plain.push(word);
    else chooseCommand(read, word);
  }
  return read;
}

function chooseCommand(read: Read, word: string): void {
  const wanted = read.group === undefined ? word : `${read.group} ${word}`;
  read.command = commands.find(({ name }) => name === wanted);
  if (read.command === undefined && Object.hasOwn(commandGroups, word)) read.group = word;
}

function choose(read: Read, value: string): void {
  for (const name of namesOf(read.pending as OptionSpec)) read.chosen.set(name, value);
  read.pending = undefined;
}

const optionsOf = (command: CommandSpec | undefined) => [
  ...(command?.options ?? []).filter(({ hidden }) => !hidden),
  ...globalFlags,
];
const namesOf = ({ flags }: OptionSpec): string[] => flags.match(/(?<![\w-])-{1,2}[a-z][a-z-]*/g) ?? [];
const takes = (option: OptionSpec, word: string) => option.flags.includes("<") && namesOf(option).includes(word);

function flagsOf(command: CommandSpec | undefined): [string, string][] {
  const options = optionsOf(command).map(({ summary, ...option }): [string, string] => [
    namesOf({ summary, ...option }).at(-1) ?? "",
    summary,
  ]);
  return [...options, ["--help", "say what it does"]];
}

function valuePlace(completes: Completes | undefined, { chosen, plain }: Read): Place {
  if (completes === undefined) return { kind: "unknown" };
  return {
    kind: "value",
    completes,
    environment: chosen.get("--env") ?? hostEnvironment().environment ?? "default",
    instance: chosen.get("--instance"),
    data: chosen.get("--data"),
    service: plain[0] ?? "",
    method: plain[1] ?? "",
  };
}
