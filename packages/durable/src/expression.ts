import { type ASTNode, Environment } from "@marcbachmann/cel-js";
import type { Json } from "./json.ts";

/** What expressions see. */
export interface ExpressionScope {
  readonly inputs: Json;
  readonly run: Json;
  /** By name: {state, output, error} of the nodes before. */
  readonly nodes: Json;
  /** The target, in the steps of a node with targets; else null. */
  readonly target: Json;
}

/** An expression that has been read. */
export interface Expression {
  /** The nodes it looks at. */
  readonly reads: readonly string[];
  /** @throws Error saying what is wrong with which values. */
  evaluate(scope: ExpressionScope): Json;
}

const environment = new Environment({
  homogeneousAggregateLiterals: false,
  limits: { maxAstNodes: 1000, maxDepth: 50, maxListElements: 1000, maxMapEntries: 1000, maxCallArguments: 32 },
});
for (const name of ["inputs", "run", "nodes", "target"]) environment.registerVariable(name, "dyn");

const known = new Map<string, Expression>();
const MOST_KNOWN = 1000;

/**
 * Reads a CEL expression (google/cel-spec) over `inputs`, `run`, `nodes` and `target`: at most 1000 syntax nodes, 50 deep.
 * Whole numbers of JSON are CEL's int, others double.
 * @throws Error saying where it cannot be read, or that it looks at nodes other than by their names.
 */
export function parseExpression(source: string): Expression {
  const found = known.get(source);
  if (found) return found;
  const parsed = environment.parse(source);
  const { valid, error } = parsed.check();
  if (!valid) throw error;
  const reads = new Set<string>();
  collectReads(parsed.ast, reads);
  const expression: Expression = {
    reads: [...reads],
    evaluate: (scope) => fromCel(parsed(toCel(scope as unknown as Json) as Record<string, unknown>)),
  };
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(source, expression);
  return expression;
}

const isNode = (value: unknown): value is ASTNode =>
  typeof value === "object" && value !== null && "op" in value && "args" in value;

/** Adds what is looked at as `nodes.NAME` or `nodes["NAME"]`. */
function collectReads(node: ASTNode, reads: Set<string>): void {
  if (node.op === "id" && node.args === "nodes") {
    throw new Error('nodes can only be looked at one by one, as nodes.NAME or nodes["NAME"]');
  }
  const name = nameRead(node);
  if (name !== undefined) {
    reads.add(name);
    return;
  }
  visit(node.args, reads);
}

function visit(value: unknown, reads: Set<string>): void {
  if (Array.isArray(value)) for (const each of value) visit(each, reads);
  else if (isNode(value)) collectReads(value, reads);
}

function nameRead(node: ASTNode): string | undefined {
  if (node.op !== "." && node.op !== "[]") return undefined;
  const [object, key] = node.args;
  if (object.op !== "id" || object.args !== "nodes") return undefined;
  if (typeof key === "string") return key;
  return key.op === "value" && typeof key.args === "string" ? key.args : undefined;
}

/** Whole numbers become BigInt, which is what CEL's int is here. */
function toCel(value: Json): unknown {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(toCel);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, toCel(each)]));
}

function fromCel(value: unknown): Json {
  if (typeof value === "bigint") {
    if (BigInt.asIntN(54, value) !== value) throw new Error(`the number ${value} is too large for JSON`);
    return Number(value);
  }
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new Error(`the result ${value} is not a number of JSON`);
    return value;
  }
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (Array.isArray(value)) return value.map(fromCel);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, each]) => [String(key), fromCel(each)]));
  if (typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, fromCel(each)]));
  }
  throw new Error("the result has a type that JSON does not have: turn it into a text with string(…)");
}
