import { parseAmount, parseShare } from "./amount.ts";
import { outputName, type SchemaNode } from "./schema-node.ts";

/** What a key that is left out stands for, in the form of the typed manifest; undefined if it has no default. */
export function defaultValue(node: SchemaNode): unknown {
  switch (node.kind) {
    case "object":
      return Object.fromEntries(
        Object.entries(node.properties)
          .map(([key, child]) => [outputName(key, child), defaultValue(child)])
          .filter(([, value]) => value !== undefined),
      );
    case "list":
      return [];
    case "map":
      return {};
    case "duration":
    case "memory":
    case "cpu":
      return node.default === undefined ? undefined : parseAmount(node.kind, node.default);
    case "share":
      return node.default === undefined ? undefined : parseShare(node.default);
    default:
      return node.default;
  }
}
