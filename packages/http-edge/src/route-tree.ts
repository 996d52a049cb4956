import type { PathTemplate } from "./path-template.ts";

/** What is registered at one path shape: a target for each HTTP method, "*" for all others. */
class Leaf<Target> {
  readonly targets = new Map<string, Target>();

  find(method: string): Target | undefined {
    return (
      this.targets.get(method) ?? (method === "HEAD" ? this.targets.get("GET") : undefined) ?? this.targets.get("*")
    );
  }
}

class Node<Target> {
  readonly literals = new Map<string, Node<Target>>();
  one: Node<Target> | undefined;
  rest: Node<Target> | undefined;
  /** By custom verb; "" is none. */
  readonly leaves = new Map<string, Leaf<Target>>();
}

/** What a path and method came to. */
export type TreeMatch<Target> =
  | { readonly kind: "found"; readonly target: Target; readonly segments: readonly string[] }
  /** The path exists with other methods, in alphabetical order. */
  | { readonly kind: "no-method"; readonly allowed: readonly string[] }
  | { readonly kind: "no-path" };

const NO_PATH = { kind: "no-path" } as const;
const NO_SEGMENTS: readonly string[] = [];

interface Search<Target> {
  readonly segments: readonly string[];
  readonly method: string;
  readonly allowed: Set<string>;
  verb: string;
  target: Target | undefined;
}

/** Finds the target of a path: literal segments before "*" before "**", a custom verb before a segment with a colon. */
export class RouteTree<Target> {
  readonly #root = new Node<Target>();
  readonly #verbs = new Set<string>();
  /** Paths that are nothing but literals, as they are sent. */
  readonly #literal = new Map<string, Leaf<Target>>();

  /** Adds a target; answers with the one that has the same shape and method already, which stays. */
  add(template: PathTemplate, method: string, target: Target): Target | undefined {
    let node = this.#root;
    for (const segment of template.segments) {
      if (segment.kind === "literal") node = childOf(node.literals, segment.text);
      else if (segment.kind === "one") node = node.one ??= new Node();
      else node = node.rest ??= new Node();
    }
    const verb = template.verb ?? "";
    if (verb !== "") this.#verbs.add(verb);
    const leaf = leafOf(node.leaves, verb);
    const before = leaf.targets.get(method);
    if (before !== undefined) return before;
    leaf.targets.set(method, target);
    if (template.segments.every(({ kind }) => kind === "literal")) this.#literal.set(template.source, leaf);
    return undefined;
  }

  /** Takes a path as it was sent, without query. The segments of what is found are still percent-encoded. */
  match(path: string, method: string): TreeMatch<Target> {
    const target = this.#literal.get(path)?.find(method);
    if (target !== undefined) return { kind: "found", target, segments: NO_SEGMENTS };
    if (path.charCodeAt(0) !== 47) return NO_PATH;
    const search: Search<Target> = {
      segments: path.slice(1).split("/"),
      method,
      allowed: new Set(),
      verb: "",
      target: undefined,
    };
    const found = this.#withVerb(search) ?? this.#withoutVerb(search);
    if (found !== undefined) return found;
    return search.allowed.size === 0 ? NO_PATH : { kind: "no-method", allowed: [...search.allowed].sort() };
  }

  #withVerb(search: Search<Target>): TreeMatch<Target> | undefined {
    const last = search.segments.at(-1) ?? "";
    const colon = last.lastIndexOf(":");
    if (colon < 0 || !this.#verbs.has(last.slice(colon + 1))) return undefined;
    const segments = [...search.segments.slice(0, -1), last.slice(0, colon)];
    const own: Search<Target> = { ...search, segments, verb: last.slice(colon + 1) };
    return visit(this.#root, 0, own) ? { kind: "found", target: own.target as Target, segments } : undefined;
  }

  #withoutVerb(search: Search<Target>): TreeMatch<Target> | undefined {
    if (!visit(this.#root, 0, search)) return undefined;
    return { kind: "found", target: search.target as Target, segments: search.segments };
  }
}

// Each node is visited at most once, because its depth is the position in the path.
function visit<Target>(node: Node<Target>, at: number, search: Search<Target>): boolean {
  const { segments } = search;
  if (at === segments.length) return settle(node, search) || (node.rest !== undefined && settle(node.rest, search));
  const segment = segments[at] as string;
  const literal = node.literals.get(segment) ?? decodedLiteral(node, segment);
  if (literal !== undefined && visit(literal, at + 1, search)) return true;
  if (node.one !== undefined && segment !== "" && visit(node.one, at + 1, search)) return true;
  return node.rest !== undefined && settle(node.rest, search);
}

function settle<Target>(node: Node<Target>, search: Search<Target>): boolean {
  const leaf = node.leaves.get(search.verb);
  if (leaf === undefined) return false;
  const target = leaf.find(search.method);
  if (target !== undefined) {
    search.target = target;
    return true;
  }
  for (const method of leaf.targets.keys()) search.allowed.add(method);
  return false;
}

function decodedLiteral<Target>(node: Node<Target>, segment: string): Node<Target> | undefined {
  if (!segment.includes("%")) return undefined;
  try {
    return node.literals.get(decodeURIComponent(segment));
  } catch {
    return undefined;
  }
}

function childOf<Target>(children: Map<string, Node<Target>>, name: string): Node<Target> {
  let child = children.get(name);
  if (child === undefined) {
    child = new Node();
    children.set(name, child);
  }
  return child;
}

function leafOf<Target>(leaves: Map<string, Leaf<Target>>, verb: string): Leaf<Target> {
  let leaf = leaves.get(verb);
  if (leaf === undefined) {
    leaf = new Leaf();
    leaves.set(verb, leaf);
  }
  return leaf;
}
