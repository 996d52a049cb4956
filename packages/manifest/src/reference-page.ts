import { childrenOf, describeKey } from "./key-description.ts";
import { manifestSchema } from "./manifest-schema.ts";
import type { ObjectNode, SchemaNode } from "./schema-node.ts";

/** The page docs/guide/manifest.md: every key of the manifest with its default and limits. */
export function manifestReferencePage(): string {
  const tables = Object.entries(manifestSchema.properties).flatMap(([key, node]) => section(key, node));
  return `${[...INTRODUCTION, ...table("", manifestSchema), ...tables, ...EVERYTHING, ...fullExample(), "```", "", ...later()].join("\n")}\n`;
}

const INTRODUCTION = [
  "<!-- Generated from packages/manifest by `npm run generate`; edit the schema there. -->",
  "# The manifest",
  "",
  manifestSchema.description,
  "A manifest is a file `NAME.hms.yml` beside the program. Two keys are enough:",
  "",
  "```yaml",
  "name: receipt-svc",
  "run:",
  "  command: node index.js",
  "```",
  "",
  "`hms-sys explain manifest.scaling` shows the same facts in the terminal. Editors that know JSON Schema complete and check",
  "a manifest whose first line names the schema (or a copy of it) relative to the manifest:",
  "",
  "```yaml",
  "# yaml-language-server: $schema=../../packages/manifest/hms-manifest.schema.json",
  "```",
  "",
  "The file is UTF-8 and YAML 1.2, at most 64 KiB, one document. Unknown keys, wrong types and impossible values are errors;",
  "all are reported together, each with line and column, and the command exits with 2. `yes`, `no` and `on` are texts;",
  "texts that look like numbers or truth values go in quotes.",
  "",
  "## All keys",
  "",
];

const EVERYTHING = ["## Everything at once", "", "Each key with its example, or else its default:", "", "```yaml"];

function section(key: string, node: SchemaNode): string[] {
  const children = childrenOf(key, node);
  if (children.length === 0) return [];
  const deeper = children.flatMap(([path, child]) => (isGroup(child) ? section(path, child) : []));
  return [`## ${key}`, "", cell(node.description), "", ...table(key, node), ...deeper];
}

const isGroup = (node: SchemaNode) => node.kind === "object" || (node.kind === "list" && node.item.kind === "object");

function table(key: string, node: SchemaNode): string[] {
  const rows = childrenOf(key, node).map(([path, child]) => {
    const facts = describeKey(path, child);
    const fallback = facts.required ? "required" : (facts.default ?? "—");
    const limits = facts.limits === undefined ? "" : ` *${cell(facts.limits)}*`;
    return `| \`${path}\` | ${facts.type} | ${cell(fallback)} | ${cell(facts.description)}${limits} |`;
  });
  return ["| Key | Type | Default | Meaning, *limits* |", "|---|---|---|---|", ...rows, ""];
}

const cell = (text: string) => text.replace(/[|*]/g, "\\$&").replace(/\$\$?\{[^ ]*/g, "`$&`");

function fullExample(): string[] {
  return exampleLines(manifestSchema, "");
}

function exampleLines(node: ObjectNode, indent: string): string[] {
  const excluded = new Set(node.exclusive?.map(([, other]) => other));
  return Object.entries(node.properties).flatMap(([key, child]) => {
    if (excluded.has(key)) return [];
    if (child.kind === "object") return [`${indent}${key}:`, ...exampleLines(child, `${indent}  `)];
    const value = child.example ?? (child.kind === "list" || child.kind === "map" ? undefined : child.default);
    return value === undefined ? [] : [`${indent}${key}: ${value}`];
  });
}

function later(): string[] {
  const rows = Object.entries(manifestSchema.later).map(([key, advice]) => `| \`${key}\` | ${cell(advice)}. |`);
  return [
    "## Keys of later versions",
    "",
    "These are known and refused, each with what to do instead.",
    "",
    "| Key | Until then |",
    "|---|---|",
    ...rows,
  ];
}
