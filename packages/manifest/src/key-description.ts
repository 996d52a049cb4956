import type { SchemaNode } from "./schema-node.ts";

/** One key of the manifest in words, as `explain` and the reference page show it. */
export interface KeyDescription {
  /** The key's path, "scaling.min"; items of a list are written without their number, "routes.path". */
  readonly key: string;
  /** What it does. */
  readonly description: string;
  /** What is written there, "whole number". */
  readonly type: string;
  readonly required: boolean;
  /** What holds if it is left out, as it would be written. */
  readonly default?: string;
  readonly limits?: string;
  readonly example?: string;
}

/** Describes one key. */
export function describeKey(key: string, node: SchemaNode): KeyDescription {
  const fallback = node.defaultNote ?? plainDefault(node);
  const limits = limitsOf(node);
  return {
    key,
    description: node.description,
    type: typeOf(node),
    required: node.required === true,
    ...(fallback === undefined ? {} : { default: fallback }),
    ...(limits === undefined ? {} : { limits }),
    ...(node.example === undefined ? {} : { example: node.example }),
  };
}

/** The keys below a key, with their paths: those of a group, of a list's items, or the one that stands for every name. */
export function childrenOf(key: string, node: SchemaNode): [key: string, node: SchemaNode][] {
  if (node.kind === "list") return childrenOf(key, node.item);
  if (node.kind === "map") return [[`${key}.NAME`, node.value]];
  if (node.kind !== "object") return [];
  const prefix = key === "" ? "" : `${key}.`;
  return Object.entries(node.properties).map(([name, child]) => [prefix + name, child]);
}

function plainDefault(node: SchemaNode): string | undefined {
  if (node.kind === "list" || node.kind === "map") return "none";
  if (node.kind === "object" || node.default === undefined) return undefined;
  return String(node.default);
}

const TYPES: Readonly<Record<SchemaNode["kind"], string>> = {
  text: "text",
  whole: "whole number",
  flag: "true or false",
  duration: "duration (500ms, 30s, 1m30s)",
  memory: "memory size (256Mi)",
  cpu: "number of cores (0.5 or 500m)",
  share: "share (25%) or whole number",
  choice: "one word",
  list: "list",
  map: "names with texts",
  object: "group of keys",
};

function typeOf(node: SchemaNode): string {
  if (node.kind === "list")
    return node.item.kind === "object" ? "list of groups of keys" : `list, each ${typeOf(node.item)}`;
  return node.kind === "map" && node.listed ? `list of names, or ${TYPES.map}` : TYPES[node.kind];
}

function limitsOf(node: SchemaNode): string | undefined {
  switch (node.kind) {
    case "whole":
    case "duration":
    case "memory":
    case "cpu":
      return `${node.min} to ${node.max}`;
    case "share":
      return `1% to 100%, or 1 to ${node.max}`;
    case "text":
      return [node.shape, `at most ${node.maxLength} characters`].filter(Boolean).join("; ");
    case "flag":
      return node.only === undefined ? undefined : `only ${node.only}`;
    case "choice":
      return Object.keys(node.choices).join(", ");
    case "list":
      return node.item.kind === "object" ? `at most ${node.max} items` : limitsOf(node.item);
    case "map":
      return `at most ${node.max} entries; names: ${node.nameShape}`;
    default:
      return undefined;
  }
}
