import { readFileSync } from "node:fs";
import { normalize } from "node:path/posix";
import { HmsError } from "@hms/kernel";
import { formatViolations, type Manifest, manifestDiff, parseManifest } from "@hms/manifest";
import { expect, test } from "vitest";
import { planDeploy } from "../../services/deployment/src/deploy-plan.ts";
import { everyObjectsNames, naughtyStrings } from "../system/naughty-strings.ts";

interface Schema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly examples?: readonly unknown[];
  readonly pattern?: string;
  readonly enum?: readonly unknown[];
}

const schema = JSON.parse(
  readFileSync(new URL("../../packages/manifest/hms-manifest.schema.json", import.meta.url), "utf8"),
) as Schema;
const SMALLEST = { name: "naughty", run: { command: "true" } };

/** Where a text can stand: names of keys, "*" for a key of anybody's choice, "[]" for an item of a list. */
type Path = readonly string[];

const canBe = ({ type }: Schema, kind: string) => [type].flat().includes(kind);

/** Every place for a text that the schema has, keys included. */
function* places(node: Schema, path: Path = []): Generator<Path> {
  if (canBe(node, "string")) yield path;
  for (const one of [...(node.anyOf ?? []), ...(node.oneOf ?? [])]) yield* places(one, path);
  for (const [key, value] of Object.entries(node.properties ?? {})) yield* places(value, [...path, key]);
  if (typeof node.additionalProperties === "object") {
    yield [...path, "(key)"];
    yield* places(node.additionalProperties, [...path, "*"]);
  }
  if (node.items !== undefined) yield* places(node.items, [...path, "[]"]);
}

/** A value with a text in a place, and what is required beside it. */
function valueWith(node: Schema | undefined, [first, ...rest]: Path, text: string): unknown {
  if (first === undefined) return text;
  const inner = [node, ...(node?.anyOf ?? []), ...(node?.oneOf ?? [])];
  if (first === "[]") return [valueWith(inner.find((one) => one?.items)?.items, rest, text)];
  if (first === "(key)") return { [text]: "x" };
  if (first === "*") {
    const value = inner.find((one) => typeof one?.additionalProperties === "object")?.additionalProperties;
    return { KEY: valueWith(value as Schema, rest, text) };
  }
  const owner = inner.find((one) => one?.properties?.[first]);
  const required = (owner?.required ?? []).filter((key) => key !== first);
  const others = required.map((key) => [key, owner?.properties?.[key]?.examples?.[0] ?? "x"]);
  return { ...Object.fromEntries(others), [first]: valueWith(owner?.properties?.[first], rest, text) };
}

const everywhere = [...new Map([...places(schema)].map((path) => [path.join("."), path])).values()];

function manifestWith(path: Path, text: string): string {
  const value = valueWith(schema, path, text) as Record<string, unknown>;
  const merged = { ...SMALLEST, ...value };
  return JSON.stringify(path[0] === "run" ? { ...merged, run: { ...SMALLEST.run, ...(value.run as object) } } : merged);
}

const before = parseManifest(JSON.stringify(SMALLEST));
// biome-ignore lint/suspicious/noControlCharactersInRegex: what must not reach a terminal.
const COMMANDS_TO_TERMINALS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/;

/** What becomes of a manifest: undefined if nothing is wrong with how it is taken or refused. */
function problemOf(path: Path, text: string): string | undefined {
  const source = manifestWith(path, text);
  let manifest: Manifest;
  try {
    manifest = parseManifest(source);
  } catch (error) {
    if (!(error instanceof HmsError) || error.details.reason !== "MANIFEST_INVALID") return `threw ${error}`;
    const shown = formatViolations("m.yml", error.details.fieldViolations ?? [], source);
    return COMMANDS_TO_TERMINALS.test(shown)
      ? `is refused with bytes for a terminal: ${JSON.stringify(shown)}`
      : undefined;
  }
  taken.add(text);
  const plan = planDeploy(manifest, { record: undefined, program: undefined, ready: 0, secrets: {} });
  if (plan.service !== manifest.name) return "is planned under another name";
  manifestDiff(before, manifest);
  // Folders are written in many ways, and kept in one.
  const kept = path.join(".") === "run.directory" ? normalize(text).replace(/\/$/, "") : text;
  return JSON.stringify(manifest).includes(JSON.stringify(kept).slice(1, -1)) ? undefined : "is not what was written";
}

const taken = new Set<string>();

test("naughty strings in every place of a manifest are taken as they are, or refused with words that any terminal can show", () => {
  const PER_PLACE = 12;
  const seen = new Set<string>();
  const problems: string[] = [];
  for (const [index, path] of everywhere.entries()) {
    const own = Array.from(
      { length: PER_PLACE },
      (_, at) => naughtyStrings[(index * PER_PLACE + at) % naughtyStrings.length] ?? "",
    );
    for (const text of [...everyObjectsNames, ...own]) {
      seen.add(text);
      const problem = problemOf(path, text);
      if (problem) problems.push(`${path.join(".")} ${JSON.stringify(text.slice(0, 60))} ${problem}`);
    }
  }
  expect(problems).toEqual([]);
  expect(everywhere.length).toBeGreaterThan(40);
  expect(seen.size).toBe(naughtyStrings.length);
  expect(taken.size).toBeGreaterThan(40);
  expect({}).not.toHaveProperty("polluted");
});
