import { readdirSync, readFileSync } from "node:fs";

/** A step as it is written; see README.md. */
export type Step = Record<string, unknown>;

/** What the registry of a scenario allows, and at which audit level; what it does not name is allowed, at `metadata`. */
export interface Policy {
  deny?: string[];
  audit?: Record<string, "none" | "metadata" | "request">;
}

/** What happens, in order. */
export interface Scenario {
  name: string;
  kind?: Kind;
  needs?: string[];
  strict?: boolean;
  server?: Record<string, unknown>;
  client?: Record<string, unknown>;
  policy?: Policy;
  ticketSeconds?: number;
  each?: Record<string, unknown[]>;
  steps: Step[];
}

/** How scenarios are run. */
type Kind = "pair" | "raw-client" | "raw-server" | "registry" | "platform";

/** A file of scenarios. */
export interface Suite {
  suite: string;
  kind: Kind;
  codecs?: string[];
  server?: Record<string, unknown>;
  client?: Record<string, unknown>;
  scenarios: Scenario[];
}

const folder = new URL("../scenarios/", import.meta.url);

/** Every file of scenarios, with `each` spelled out. */
export function suites(): Suite[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .map((name) => JSON.parse(readFileSync(new URL(name, folder), "utf8")) as Suite)
    .map((suite) => ({ ...suite, scenarios: suite.scenarios.flatMap(spelledOut) }));
}

function spelledOut(scenario: Scenario): Scenario[] {
  const [name, values] = Object.entries(scenario.each ?? {})[0] ?? [];
  if (name === undefined || values === undefined) return [scenario];
  return values.map((value) => {
    const text = JSON.stringify({ ...scenario, each: undefined }).replaceAll(`$${name}`, String(value));
    return JSON.parse(text) as Scenario;
  });
}

/** Arguments with `$repeat` written out, and `$names` and `{names}` replaced. */
export function expanded(value: unknown, names: Record<string, unknown> = {}): unknown {
  if (typeof value === "string") return named(value, names);
  if (Array.isArray(value)) return value.map((each) => expanded(each, names));
  if (typeof value !== "object" || value === null) return value;
  const { $repeat, times } = value as { $repeat?: string; times?: number };
  if ($repeat !== undefined) return $repeat.repeat(times ?? 1);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, expanded(each, names)]));
}

function named(text: string, names: Record<string, unknown>): unknown {
  if (text.startsWith("$") && text.slice(1) in names) return names[text.slice(1)];
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(names[name] ?? whole));
}
