import { defaultValue } from "./default-value.ts";
import { describedValue } from "./described-value.ts";
import { nameProblem, objectAdvice, unknownKey } from "./key-problem.ts";
import { quoted } from "./quoted.ts";
import { readScalar } from "./read-scalar.ts";
import { below, type Place, type Reading, refuse, UNREADABLE, yamlAt } from "./reading.ts";
import {
  type ListNode,
  type MapNode,
  type ObjectNode,
  outputName,
  type SchemaNode,
  type TextNode,
} from "./schema-node.ts";
import type { YamlNode, YamlPair } from "./yaml-source.ts";

/** Reads what stands at a place as its schema node asks. Where something is wrong it is reported, and UNREADABLE stands in for the value. */
export function readNode(node: SchemaNode, place: Place, reading: Reading): unknown {
  const yaml = yamlAt(place, reading);
  if (!yaml) return UNREADABLE;
  reading.given.set(place.path, reading.source.position(yaml.offset));
  if (node.kind === "object") return readObject(node, { ...place, yaml }, reading);
  if (node.kind === "list") return readList(node, { ...place, yaml }, reading);
  if (node.kind === "map") return readMap(node, { ...place, yaml }, reading);
  const outcome = readScalar(node, yaml, reading);
  if ("value" in outcome) return outcome.value;
  for (const problem of outcome.problems) refuse(reading, { path: place.path, offset: yaml.offset }, problem);
  return UNREADABLE;
}

type FoundPlace = Place & { readonly yaml: YamlNode };

function readList(node: ListNode, { path, yaml }: FoundPlace, reading: Reading): unknown {
  const at = { path, offset: yaml.offset };
  if (yaml.kind !== "list") {
    const advice = node.item.kind === "object" ? 'Put "- " before the first key of each item' : "Write it in brackets";
    return refuse(
      reading,
      at,
      `A list is needed here, and this is ${describedValue(yaml)}. ${advice}: ${node.example}`,
    );
  }
  if (yaml.items.length === 0) return refuse(reading, at, "The list is empty. Put something in, or remove the key");
  if (yaml.items.length > node.max) {
    return refuse(reading, at, `The list has ${yaml.items.length} items, and ${node.max} are the most. Remove some`);
  }
  const items = yaml.items.map((value, index) =>
    readNode(node.item, { path: `${path}[${index}]`, value, offset: yaml.offset }, reading),
  );
  if (node.item.kind === "choice") refuseRepeated(items, path, reading);
  return items;
}

function refuseRepeated(items: unknown[], path: string, reading: Reading): void {
  for (const [index, item] of items.entries()) {
    const position = reading.given.get(`${path}[${index}]`);
    if (item === UNREADABLE || items.indexOf(item) === index || !position) continue;
    reading.problems.add(
      `${path}[${index}]`,
      position,
      `${String(item)} is in the list already. Remove one of the two`,
    );
  }
}

function readMap(node: MapNode, place: FoundPlace, reading: Reading): unknown {
  const { path, yaml } = place;
  const at = { path, offset: yaml.offset };
  if (node.listed && yaml.kind === "list") return readListedMap(node, place, reading);
  if (yaml.kind !== "map") {
    return refuse(
      reading,
      at,
      `Lines of the form NAME: "value" are needed here, and this is ${describedValue(yaml)}. Write ${node.example}`,
    );
  }
  if (yaml.pairs.length > node.max) {
    return refuse(reading, at, `There are ${yaml.pairs.length} entries, and ${node.max} are the most. Remove some`);
  }
  const entries = new Map<string, unknown>();
  for (const pair of yaml.pairs) {
    const { name, offset } = reading.source.key(pair, yaml.offset);
    const key = below(path, name ?? "?");
    const wrong = nameProblem(node, name);
    if (wrong || name === undefined) refuse(reading, { path: key, offset }, wrong ?? "");
    else if (entries.has(name)) refuse(reading, { path: key, offset }, repeatedKey(name, key, reading));
    else entries.set(name, readNode(node.value, { path: key, value: pair.value, offset }, reading));
  }
  return Object.fromEntries(entries);
}

/** Names alone, each with itself for its value. */
function readListedMap(node: MapNode, place: FoundPlace, reading: Reading): unknown {
  const { path, yaml } = place;
  const { description, max, example = "" } = node;
  const item: TextNode = { kind: "text", description, maxLength: 128 };
  const names = readList({ kind: "list", description, max, example, item }, place, reading);
  if (!Array.isArray(names)) return UNREADABLE;
  refuseRepeated(names, path, reading);
  const entries = new Map<string, unknown>();
  for (const [index, name] of names.entries()) {
    if (typeof name !== "string") continue;
    const at = `${path}[${index}]`;
    const position = reading.given.get(at) ?? reading.source.position(yaml.offset);
    reading.given.set(below(path, name), position);
    const wrong = nameProblem(node, name);
    if (wrong) reading.problems.add(at, position, wrong);
    else entries.set(name, name);
  }
  return Object.fromEntries(entries);
}

function readObject(node: ObjectNode, { path, yaml }: FoundPlace, reading: Reading): unknown {
  if (yaml.kind !== "map") {
    const description = `A group of keys is needed here, and this is ${describedValue(yaml)}. ${objectAdvice(node)}`;
    return refuse(reading, { path, offset: yaml.offset }, description);
  }
  const group: ObjectSoFar = { path, offset: yaml.offset, read: new Map(), unknown: new Set() };
  for (const pair of yaml.pairs) readPair(node, { group, pair }, reading);
  refuseExclusive(node, group, reading);
  return complete(node, group, reading);
}

interface ObjectSoFar {
  readonly path: string;
  readonly offset: number;
  readonly read: Map<string, unknown>;
  readonly unknown: Set<string>;
}

function readPair(node: ObjectNode, { group, pair }: { group: ObjectSoFar; pair: YamlPair }, reading: Reading): void {
  const { name, offset } = reading.source.key(pair, group.offset);
  const path = below(group.path, name ?? "?");
  const child = name !== undefined && Object.hasOwn(node.properties, name) ? node.properties[name] : undefined;
  if (name === undefined || !child) {
    refuse(reading, { path, offset }, unknownKey(node, name, reading.schema));
    if (name !== undefined) group.unknown.add(name);
  } else if (group.read.has(name)) refuse(reading, { path, offset }, repeatedKey(name, path, reading));
  else group.read.set(name, readNode(child, { path, value: pair.value, offset }, reading));
}

function refuseExclusive(node: ObjectNode, { path, offset, read }: ObjectSoFar, reading: Reading): void {
  for (const [one, other] of node.exclusive ?? []) {
    if (!read.has(one) || !read.has(other)) continue;
    const place = reading.given.get(below(path, other)) ?? reading.source.position(offset);
    reading.problems.add(below(path, other), place, `${one} and ${other} exclude each other. Remove one of the two`);
  }
}

/** Fills in defaults and reports required keys that are missing. */
function complete(node: ObjectNode, { path, offset, read, unknown }: ObjectSoFar, reading: Reading): unknown {
  const entries = Object.entries(node.properties).map(([key, child]): [string, unknown] => {
    if (read.has(key)) return [outputName(key, child), read.get(key)];
    if (!child.required) return [outputName(key, child), defaultValue(child)];
    if (!child.requiredUnless?.some((other) => unknown.has(other))) {
      refuse(reading, { path: below(path, key), offset }, missingKey(key, child));
    }
    return [outputName(key, child), UNREADABLE];
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

function missingKey(key: string, child: SchemaNode): string {
  const example = child.kind === "object" ? exampleOf(child) : child.example;
  return `The key ${key} is missing, and it has no default. Add ${key}: ${example}`;
}

function exampleOf(node: ObjectNode): string {
  const required = Object.entries(node.properties).filter(([, child]) => child.required);
  return `{${required.map(([key, child]) => `${key}: ${child.example}`).join(", ")}}`;
}

function repeatedKey(name: string, path: string, reading: Reading): string {
  const first = reading.given.get(path);
  const where = first ? ` in line ${first.line}` : "";
  return `The key ${quoted(name)} is there already${where}, and only one of the two could count. Remove one`;
}
