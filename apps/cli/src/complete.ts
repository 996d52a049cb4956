import type { ArgumentSpec, CommandSpec, Completes } from "./command-spec.ts";
import { commands } from "./command-table.ts";
import { globalFlags } from "./parse-command-line.ts";

/** How long a shell may wait for live names. */
const PATIENCE_MS = 1000;

/** Prints what may stand at the last word, one a line with a tab before its meaning; silent when nothing fits. */
export async function complete(words: string[]): Promise<number> {
  const last = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  try {
    for (const [word, meaning] of await candidates(before, last)) {
      if (word.startsWith(last)) process.stdout.write(meaning ? `${word}\t${meaning}\n` : `${word}\n`);
    }
  } catch {
    // A shell must never see an error where it asked for words.
  }
  return 0;
}

type Candidate = [word: string, meaning: string];

async function candidates(before: string[], last: string): Promise<Candidate[]> {
  const { command, position } = where(before);
  if (command === undefined) return commands.map(({ name, summary }) => [name, summary]);
  if (last.startsWith("-")) return flags(command);
  const argument = argumentAt(command, position);
  return argument?.completes === undefined ? [] : live(argument.completes, before);
}

const flagWord = (flag: string) => flag.match(/--[a-z-]+/)?.[0] ?? flag;
const takesValue = (flag: string) => flag.includes("<");

function flags(command: CommandSpec): Candidate[] {
  return [...(command.options ?? []), ...globalFlags].map(({ flags: text, summary }) => [flagWord(text), summary]);
}

function where(before: string[]): { command: CommandSpec | undefined; position: number } {
  const valued = new Set(
    [...globalFlags, ...commands.flatMap((spec) => spec.options ?? [])]
      .filter((o) => takesValue(o.flags))
      .flatMap((o) => o.flags.match(/-{1,2}[a-z-]+/g) ?? []),
  );
  const plain = before.filter((word, index) => !word.startsWith("-") && !valued.has(before[index - 1] ?? ""));
  return { command: commands.find(({ name }) => name === plain[0]), position: plain.length - 1 };
}

function argumentAt(command: CommandSpec, position: number): ArgumentSpec | undefined {
  const all = command.args ?? [];
  return all[position] ?? (all.at(-1)?.variadic ? all.at(-1) : undefined);
}

async function live(kind: Completes, before: string[]): Promise<Candidate[]> {
  switch (kind) {
    case "service":
      return serviceNames(before);
    case "component":
      return [
        ["server", ""],
        ["dataplane", ""],
        ["postgres", ""],
      ];
    case "manifest-key":
      return manifestKeys();
    default:
      return [];
  }
}

function optionValue(before: string[], ...names: string[]): string | undefined {
  const index = before.findIndex((word) => names.includes(word));
  return index < 0 ? undefined : before[index + 1];
}

async function serviceNames(before: string[]): Promise<Candidate[]> {
  const { openSession } = await import("./session.ts");
  const { hostEnvironment } = await import("@hms/config");
  const environment = optionValue(before, "-e", "--env") ?? hostEnvironment().environment ?? "default";
  const session = openSession({ instance: optionValue(before, "--instance"), data: optionValue(before, "--data") });
  try {
    const { services } = await session.deployments.listServices(
      { environment, pageSize: 200 },
      { timeoutMs: PATIENCE_MS },
    );
    return services.map(({ name, version }) => [name, version]);
  } finally {
    await session.close();
  }
}

async function manifestKeys(): Promise<Candidate[]> {
  const { explainManifest } = await import("@hms/manifest");
  const below = (key: string): Candidate[] =>
    explainManifest(key).children.flatMap((child) => [
      [`manifest.${child.key}`, child.type] as Candidate,
      ...below(child.key),
    ]);
  return [["manifest", ""], ...below("")];
}
