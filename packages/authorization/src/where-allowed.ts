import type { ResourcePredicate } from "@hms/kernel";
import { type RawBuilder, sql } from "kysely";

/**
 * The columns of a table that hold what predicates speak of; what a table has no column for cannot be told to it, and what
 * is null there is nothing.
 */
export interface ResourceColumns {
  name?: RawBuilder<unknown>;
  environment?: RawBuilder<unknown>;
  /** Text, empty where it belongs to nobody. */
  owner?: RawBuilder<unknown>;
  /** A text array. */
  tags?: RawBuilder<unknown>;
  /** A text array. */
  groups?: RawBuilder<unknown>;
}

const bool = (value: boolean) => (value ? sql<boolean>`true` : sql<boolean>`false`);

const joined = (parts: readonly RawBuilder<boolean>[], by: "and" | "or") =>
  sql<boolean>`(${sql.join(parts, sql.raw(` ${by} `))})`;

/**
 * A predicate as a condition of a table's rows. It keeps every row that fulfils it, and more where the table has no column
 * for what it speaks of: rows are asked one by one afterwards. Values are parameters, never part of the text.
 */
export function whereAllowed(predicate: ResourcePredicate, columns: ResourceColumns): RawBuilder<boolean> {
  return condition(predicate, columns, true);
}

/** `unknown` is what a part becomes that cannot be told: true, but false below a "not". */
function condition(predicate: ResourcePredicate, columns: ResourceColumns, unknown: boolean): RawBuilder<boolean> {
  const inner = (part: ResourcePredicate) => condition(part, columns, unknown);
  if ("all" in predicate) return predicate.all.length === 0 ? bool(true) : joined(predicate.all.map(inner), "and");
  if ("any" in predicate) return predicate.any.length === 0 ? bool(false) : joined(predicate.any.map(inner), "or");
  if ("not" in predicate) return sql<boolean>`not ${condition(predicate.not, columns, !unknown)}`;
  return told(predicate, columns) ?? bool(unknown);
}

type Leaf = Exclude<ResourcePredicate, { all: unknown } | { any: unknown } | { not: unknown }>;

function told(leaf: Leaf, columns: ResourceColumns): RawBuilder<boolean> | undefined {
  if ("field" in leaf) {
    const column = columns[leaf.field];
    return column && known(sql<boolean>`${column} = ${leaf.equals}`);
  }
  if ("has" in leaf) {
    const column = columns[leaf.has];
    return column && known(sql<boolean>`${column} <> ''`);
  }
  if ("tag" in leaf) return columns.tags && known(sql<boolean>`${leaf.tag} = any(${columns.tags})`);
  if ("group" in leaf) return columns.groups && known(sql<boolean>`${leaf.group} = any(${columns.groups})`);
  return undefined;
}

/** False where a column is null: "not" of it would keep nothing. */
const known = (compared: RawBuilder<boolean>) => sql<boolean>`coalesce(${compared}, false)`;
