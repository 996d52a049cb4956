import type { Output } from "./output/output.ts";
import type { Session } from "./session.ts";

/** What the shell may complete an argument with. */
export type Completes =
  | "service"
  | "environment"
  | "revision"
  | "rollout"
  | "replica"
  | "secret"
  | "manifest"
  | "manifest-key"
  | "ffi-service"
  | "ffi-method"
  | "ffi-field"
  | readonly string[];

/** One positional argument. */
export interface ArgumentSpec {
  name: string;
  summary: string;
  required?: boolean;
  variadic?: boolean;
  completes?: Completes;
}

/** One option; flags as commander writes them: "--tail <n>". */
export interface OptionSpec {
  flags: string;
  summary: string;
  completes?: Completes;
  default?: string | boolean;
  /** Known, to be refused with advice; no help and no completion shows it. */
  hidden?: boolean;
  /** May be given more than once: the values are one text, a line each. */
  repeats?: boolean;
}

/** What a command is run with. */
export interface Invocation {
  args: string[];
  /** By long flag name in camel case. */
  options: Record<string, string | boolean | undefined>;
  globals: GlobalOptions;
  output: Output;
  /** Opens the connection to the platform on first use. */
  session(): Session;
  /** Aborts on the first Ctrl-C. */
  signal: AbortSignal;
}

/** Options that every command has. */
export interface GlobalOptions {
  output: "text" | "json";
  quiet: boolean;
  instance: string | undefined;
  data: string | undefined;
  environment: string;
}

/** A command as data; its code is loaded when it runs. */
export interface CommandSpec {
  /** One word, or two: the group of commands and the command in it. */
  name: string;
  group: "Deploy" | "Watch" | "Automate" | "Access" | "Call" | "Platform" | "Learn";
  summary: string;
  args?: ArgumentSpec[];
  options?: OptionSpec[];
  examples?: string[];
  /** Works without an installation. */
  offline?: boolean;
  /** False: it is the operator's, whoever is signed in; default true. */
  asPerson?: boolean;
  /** Everything after the arguments belongs to another program. */
  passThrough?: boolean;
  load: () => Promise<{ run: (invocation: Invocation) => Promise<number> }>;
}
