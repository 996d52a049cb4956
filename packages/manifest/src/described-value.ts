import { quoted } from "./quoted.ts";
import type { YamlNode } from "./yaml-source.ts";

/** A YAML value in words, for "is …": its kind and how it is written. */
export function describedValue(node: YamlNode): string {
  if (node.kind === "map") return "a group of keys";
  if (node.kind === "list") return "a list";
  if (node.value === null) return "empty";
  if (typeof node.value === "string") return `the text ${quoted(node.value)}`;
  if (typeof node.value === "boolean") return `the truth value ${node.source}`;
  return `the number ${quoted(node.source).slice(1, -1)}`;
}
