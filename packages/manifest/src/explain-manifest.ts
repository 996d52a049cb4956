import { HmsError } from "@hms/kernel/errors";
import { childrenOf, describeKey, type KeyDescription } from "./key-description.ts";
import { manifestSchema } from "./manifest-schema.ts";
import { nearestName } from "./nearest-name.ts";
import { quoted } from "./quoted.ts";
import type { SchemaNode } from "./schema-node.ts";

/** One key with the keys below it. */
export interface ManifestExplanation extends KeyDescription {
  readonly children: readonly KeyDescription[];
}

/**
 * Explains one key of the manifest, "scaling.min" or "routes.path" (an item's number may be there); the whole manifest by default.
 * @throws HmsError NOT_FOUND for a key that does not exist, with the nearest one, and UNIMPLEMENTED for one of a later version.
 */
export function explainManifest(keyPath = ""): ManifestExplanation {
  const path = keyPath.replace(/\[[0-9]*\]/g, "");
  let node: SchemaNode = manifestSchema;
  let key = "";
  for (const name of path === "" ? [] : path.split(".")) {
    [key, node] = step(key, node, name);
  }
  return { ...describeKey(key, node), children: childrenOf(key, node).map((child) => describeKey(...child)) };
}

/** An explanation as plain text for a terminal. */
export function formatExplanation(explanation: ManifestExplanation): string {
  const { key, description, type, required, limits, example, children } = explanation;
  const facts = [
    ["type", type],
    ["required", required ? "yes" : undefined],
    ["default", explanation.default],
    ["limits", limits],
    ["example", example],
  ].filter((fact): fact is [string, string] => fact[1] !== undefined);
  const width = Math.max(0, ...children.map((child) => child.key.length));
  const lines = [
    key || "manifest",
    `  ${description}`,
    "",
    ...facts.map(([name, value]) => `  ${name.padEnd(9)} ${value}`),
  ];
  if (children.length > 0)
    lines.push("", ...children.map((child) => `  ${child.key.padEnd(width)}  ${firstSentence(child)}`));
  return `${lines.join("\n")}\n`;
}

function firstSentence({ description }: KeyDescription): string {
  return /^.*?[.;:](?=\s|$)/.exec(description)?.[0].replace(/[.;:]$/, "") ?? description;
}

function step(key: string, node: SchemaNode, name: string): [string, SchemaNode] {
  const children = childrenOf(key, node);
  const found = children.find(([child]) => child === (key === "" ? name : `${key}.${name}`));
  if (found) return found;
  const group = node.kind === "list" ? node.item : node;
  if (group.kind === "map" && children[0]) return children[0];
  const path = key === "" ? name : `${key}.${name}`;
  const later =
    group.kind === "object" && group.later && Object.hasOwn(group.later, name) ? group.later[name] : undefined;
  if (later) throw new HmsError("UNIMPLEMENTED", `This version of hms-sys cannot do ${path} yet. ${later}.`);
  throw new HmsError("NOT_FOUND", `The manifest has no key ${quoted(path)}. ${advice(name, group, children)}`);
}

function advice(name: string, group: SchemaNode, children: [string, SchemaNode][]): string {
  if (group.kind === "object" && group.elsewhere && Object.hasOwn(group.elsewhere, name)) {
    return `What you look for is called ${group.elsewhere[name]}.`;
  }
  if (children.length === 0) return "The key before the last dot has none below it.";
  const lastNames = new Map(children.map(([child]) => [child.replace(/^.*\./, ""), child]));
  const nearest = nearestName(name, lastNames.keys());
  return nearest
    ? `Did you mean ${lastNames.get(nearest)}?`
    : `Possible are ${children.map(([child]) => child).join(", ")}.`;
}
