import { nearestName } from "./nearest-name.ts";
import { quoted } from "./quoted.ts";
import { below } from "./reading.ts";
import type { MapNode, ObjectNode, SchemaNode } from "./schema-node.ts";

/** What is wrong with a key that an object does not have, and what to write instead. */
export function unknownKey(node: ObjectNode, name: string | undefined, root: ObjectNode): string {
  const known = Object.keys(node.properties);
  if (name === undefined) return `A key is needed here: ${known.join(", ")}`;
  if (name === "<<") return "The merge key << is not part of YAML 1.2. Write the keys out";
  if (node.later && Object.hasOwn(node.later, name)) {
    return `This version of hms-sys cannot do "${name}" yet. ${node.later[name]}`;
  }
  if (node.elsewhere && Object.hasOwn(node.elsewhere, name)) {
    return `There is no key ${quoted(name)} here. What you look for is called ${node.elsewhere[name]}`;
  }
  const nearest = nearestName(name, known);
  if (nearest) return `There is no key ${quoted(name)} here. Did you mean ${nearest}?`;
  const [elsewhere] = pathsOf(name, root);
  if (elsewhere) return `There is no key ${quoted(name)} here. ${elsewhere} is where it belongs`;
  return `There is no key ${quoted(name)} here. Possible are ${known.join(", ")}`;
}

/** Where a key of this name is in the schema. */
function pathsOf(name: string, node: SchemaNode, path = ""): string[] {
  if (node.kind === "list") return pathsOf(name, node.item, path);
  if (node.kind !== "object") return [];
  return Object.entries(node.properties).flatMap(([key, child]) => [
    ...(key === name ? [below(path, key)] : []),
    ...pathsOf(name, child, below(path, key)),
  ]);
}

/** What is wrong with a freely chosen name, or undefined. */
export function nameProblem(node: MapNode, name: string | undefined): string | undefined {
  if (name === undefined) return `A name is needed here: ${node.nameShape}`;
  if (Object.hasOwn(node.reserved, name)) return `${name} ${node.reserved[name]}`;
  if (new RegExp(node.namePattern).test(name)) return undefined;
  return `${quoted(name)} cannot be a name here. Use ${node.nameShape}`;
}

/** What to write when something else stands where keys are needed. */
export function objectAdvice(node: ObjectNode): string {
  const keys = Object.keys(node.properties);
  return `Write keys below it, indented: ${keys.join(", ")}`;
}
