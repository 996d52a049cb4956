import { formatAmount, formatShare } from "./amount.ts";
import { defaultValue } from "./default-value.ts";
import { type Manifest, manifestSchema } from "./manifest-schema.ts";
import { visible } from "./quoted.ts";
import { type ListNode, type ObjectNode, outputName, type SchemaNode, type Surge } from "./schema-node.ts";
import { secretPieces, secretTemplate } from "./secret-reference.ts";

/** One difference between two manifests, in the notation of manifests; empty text: not there. */
export interface Change {
  /** The manifest key, "scaling.min", "env.REGION", "routes[/receipt]". */
  readonly key: string;
  readonly before: string;
  readonly after: string;
}

const LONGEST = 200;
const SECRET_NAME =
  /SECRET|TOKEN|PASS(?:WORD|WD|PHRASE|CODE)?(?:_|$)|PWD|CREDENTIAL|PRIVATE|(?:^|_)(?:API)?_?KEY|AUTH|DSN|COOKIE|SALT/i;

/**
 * What differs between two manifests, in the order of the schema. Without `before`: everything that differs from the defaults.
 * Values of variables whose names smell of a secret, and passwords in addresses, are masked; order of routes does not count.
 */
export function manifestDiff(before: Manifest | undefined, after: Manifest): Change[] {
  const old = before ? flatten(before) : new Map<string, string>();
  const now = flatten(after);
  const defaults = before ? new Map<string, string>() : flatten(defaultValue(manifestSchema));
  const changes: Change[] = [];
  for (const key of new Set([...now.keys(), ...old.keys()])) {
    const from = old.get(key) ?? "";
    const to = now.get(key) ?? "";
    if (from !== to && to !== defaults.get(key)) changes.push(shownChange(key, from, to));
  }
  return changes;
}

function shownChange(key: string, from: string, to: string): Change {
  const before = shown(key, from);
  const after = shown(key, to);
  return { key, before, after: after === before ? `${after} (changed)` : after };
}

function shown(key: string, value: string): string {
  if (key.startsWith("env.") && value !== "" && SECRET_NAME.test(key.slice(4))) return "***";
  if (key.startsWith("secrets.") && SECRET_NAME.test(key.slice(8))) return visible(withoutTexts(value));
  const open = value.replace(/(:\/\/[^/\s:@]*):[^/\s@]*@/g, "$1:***@");
  return visible(open.length > LONGEST ? `${open.slice(0, LONGEST)}…` : open);
}

/** The secrets that a value holds; what stands between them may be another one. */
const withoutTexts = (template: string) =>
  secretTemplate(secretPieces(template).map((piece) => ("text" in piece ? { text: "***" } : piece)));

function flatten(manifest: unknown): Map<string, string> {
  const texts = new Map<string, string>();
  collect(manifestSchema, { key: "", value: manifest, texts });
  return texts;
}

interface Flattening {
  readonly key: string;
  readonly value: unknown;
  readonly texts: Map<string, string>;
}

function collect(node: SchemaNode, { key, value, texts }: Flattening): void {
  // What an earlier version stored may lack a key.
  const found = value ?? defaultValue(node);
  if (found === undefined || found === null) return;
  if (node.kind === "object") collectKeys(node, { key, value: found, texts });
  else if (node.kind === "list") collectItems(node, { key, value: found, texts });
  else if (node.kind === "map") {
    for (const [name, inner] of Object.entries(found)) texts.set(`${key}.${name}`, String(inner) || '""');
  } else texts.set(key, written(node, found));
}

function collectKeys(node: ObjectNode, { key, value, texts }: Flattening): void {
  for (const [name, child] of Object.entries(node.properties)) {
    // It says no more than that http is absent.
    if (child.kind === "flag" && child.only !== undefined) continue;
    const inner = (value as Record<string, unknown>)[outputName(name, child)];
    collect(child, { key: key === "" ? name : `${key}.${name}`, value: inner, texts });
  }
}

/** Routes are told by their paths, other items by their places. */
function collectItems({ item }: ListNode, { key, value, texts }: Flattening): void {
  for (const [index, each] of (value as unknown[]).entries()) {
    if (item.kind !== "object") texts.set(`${key}[${index}]`, written(item, each));
    else if (key === "routes") collectRoute(item, each as Route, texts);
    else collectKeys(item, { key: `${key}[${index}]`, value: each, texts });
  }
}

type Route = Manifest["routes"][number];

function collectRoute(item: ObjectNode, route: Route, texts: Map<string, string>): void {
  const { path, methods } = route;
  const key = `routes[${path}]`;
  const more = methods.length === 0 ? "all methods" : methods.join(", ");
  const sofar = texts.get(key);
  texts.set(key, sofar === undefined ? more : `${sofar}, ${more}`);
  const { path: _path, methods: _methods, ...properties } = item.properties;
  const rules = { ...item, properties };
  const defaults = new Map<string, string>();
  collectKeys(rules, { key, value: {}, texts: defaults });
  const own = new Map<string, string>();
  collectKeys(rules, { key, value: route, texts: own });
  for (const [name, text] of own) if (defaults.get(name) !== text) texts.set(name, text);
}

function written(node: SchemaNode, value: unknown): string {
  if (node.kind === "duration" || node.kind === "memory" || node.kind === "cpu")
    return formatAmount(node.kind, Number(value));
  return node.kind === "share" ? formatShare(value as Surge) : String(value);
}
