import type { ResourcePredicate } from "@hms/kernel";

/** Cannot be told: whoever has such a predicate asks row by row. */
const UNTOLD: ResourcePredicate = { untold: true };
const TRUE: ResourcePredicate = { all: [] };
const FALSE: ResourcePredicate = { any: [] };

interface Pair {
  left?: unknown;
  right?: unknown;
  arg?: unknown;
  attr?: unknown;
}

/** The name of what is not known yet: "resource", or "environment" of the context. */
function unknownOf(node: unknown): string | undefined {
  const [of] = (node as { unknown?: { Value?: string }[] }).unknown ?? [];
  return of?.Value;
}

const literalOf = (node: unknown) => (node as { Value?: unknown }).Value;

/** The field of the resource that a node reads; the context's environment is the resource's, as rows are asked about. */
function fieldOf(node: unknown): "name" | "environment" | "owner" | "tags" | undefined {
  if (unknownOf(node) === "environment") return "environment";
  const { left, attr } = (node as { "."?: Pair })["."] ?? {};
  if (left === undefined || unknownOf(left) !== "resource") return undefined;
  return attr === "name" || attr === "environment" || attr === "owner" || attr === "tags" ? attr : undefined;
}

function equality({ left, right }: Pair): ResourcePredicate {
  for (const [one, other] of [
    [left, right],
    [right, left],
  ]) {
    const field = fieldOf(one);
    const value = literalOf(other);
    if (field !== undefined && field !== "tags" && typeof value === "string") return { field, equals: value };
  }
  return UNTOLD;
}

function membership({ left, right }: Pair): ResourcePredicate {
  const { type, id } = (literalOf(right) as { __entity?: { type: string; id: string } } | undefined)?.__entity ?? {};
  if (unknownOf(left) !== "resource" || id === undefined) return UNTOLD;
  if (type === "Environment") return { field: "environment", equals: id };
  return type === "Group" ? { group: id } : UNTOLD;
}

function containment({ left, right }: Pair): ResourcePredicate {
  const value = literalOf(right);
  return fieldOf(left) === "tags" && typeof value === "string" ? { tag: value } : UNTOLD;
}

function possession({ left, attr }: Pair): ResourcePredicate {
  const [name] = Array.isArray(attr) ? attr : [attr];
  if (unknownOf(left) !== "resource" || (Array.isArray(attr) && attr.length > 1)) return UNTOLD;
  return name === "owner" || name === "environment" ? { has: name } : UNTOLD;
}

const OPERATORS: Readonly<Record<string, (pair: Pair) => ResourcePredicate>> = {
  "&&": ({ left, right }) => ({ all: [residualPredicate(left), residualPredicate(right)] }),
  "||": ({ left, right }) => ({ any: [residualPredicate(left), residualPredicate(right)] }),
  "!": ({ arg }) => ({ not: residualPredicate(arg) }),
  "==": equality,
  "!=": (pair) => ({ not: equality(pair) }),
  in: membership,
  contains: containment,
  has: possession,
};

/** What is left of a policy's condition once everything but the resource is known, as far as a database can be told. */
export function residualPredicate(node: unknown): ResourcePredicate {
  const value = literalOf(node);
  if (typeof value === "boolean") return value ? TRUE : FALSE;
  const [entry, ...more] = Object.entries(node as object);
  const read = entry && more.length === 0 ? OPERATORS[entry[0]] : undefined;
  return read === undefined || entry === undefined ? UNTOLD : simplified(read(entry[1] as Pair));
}

/** Without parts that are true or false anyway. */
export function simplified(predicate: ResourcePredicate): ResourcePredicate {
  if ("all" in predicate) {
    const parts = predicate.all.map(simplified).filter((part) => !isConstant(part, true));
    if (parts.some((part) => isConstant(part, false))) return FALSE;
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : { all: parts };
  }
  if ("any" in predicate) {
    const parts = predicate.any.map(simplified).filter((part) => !isConstant(part, false));
    if (parts.some((part) => isConstant(part, true))) return TRUE;
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : { any: parts };
  }
  if (!("not" in predicate)) return predicate;
  const part = simplified(predicate.not);
  if (isConstant(part, true)) return FALSE;
  return isConstant(part, false) ? TRUE : { not: part };
}

/** Whether a predicate is true (or false) of everything. */
export function isConstant(predicate: ResourcePredicate, value: boolean): boolean {
  return value ? "all" in predicate && predicate.all.length === 0 : "any" in predicate && predicate.any.length === 0;
}
