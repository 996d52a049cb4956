import type { ResourceFilter, ResourcePredicate, ResourceRow } from "@hms/kernel";
import { type RawBuilder, sql } from "kysely";
import { isConstant, simplified } from "./residual-predicate.ts";
import { type ResourceColumns, whereAllowed } from "./where-allowed.ts";

/** How rows of a list are things that policies speak of. */
export interface RowsAsThings<Row> {
  /** What the database knows of them; without a column for environments they live in none. */
  readonly columns: ResourceColumns;
  /** Default "every": each lives in an environment; "some" where the column is empty for those that live in none. */
  readonly placed?: "every" | "some";
  /** What a row is, named as requests about it alone name it. */
  thingOf(row: Row): ResourceRow;
}

/** A page of rows, from a place on. */
interface PageQuestion<Row> {
  /** Most rows that are answered. */
  readonly limit: number;
  /** Reads rows behind a place; the first ones for undefined. All of `where` have to be met. */
  read(page: { after: Row | undefined; limit: number; where: RawBuilder<boolean> }): Promise<readonly Row[]>;
  /** Asked before each reading; throws when nobody waits any more. */
  throwIfEnded(): void;
}

/** Which rows a caller may see. */
export interface VisibleRows<Row> {
  /** What a database is asked for; rows that it keeps have to be asked about still. */
  readonly where: RawBuilder<boolean>;
  allows(row: Row): boolean;
  /**
   * The next rows that the caller may see, as many as were asked for if there are so many: what the database cannot tell is
   * decided row by row, and read on for. Nothing in it says how many were left out.
   */
  page(question: PageQuestion<Row>): Promise<Row[]>;
}

const MOST_READ_AT_ONCE = 1000;
const UNPLACED = sql`''`;

/** The rows of a list that a filter lets through, by condition and one by one. */
export function visibleRows<Row>(filter: ResourceFilter, things: RowsAsThings<Row>): VisibleRows<Row> {
  const predicate = predicateOf(filter, things);
  const columns = { ...things.columns, environment: things.columns.environment ?? UNPLACED };
  const where = whereAllowed(predicate, columns);
  const allows = (row: Row) => filter.allows(things.thingOf(row));
  return {
    where,
    allows,
    async page({ limit, read, throwIfEnded }) {
      const visible: Row[] = [];
      let after: Row | undefined;
      // Of what is mostly left out more is read at once.
      for (let most = limit; !isConstant(predicate, false); most = Math.min(2 * most, MOST_READ_AT_ONCE)) {
        throwIfEnded();
        const found = await read({ after, limit: most, where });
        visible.push(...found.filter(allows));
        after = found.at(-1);
        if (found.length < most || visible.length >= limit) break;
      }
      return visible.slice(0, limit);
    },
  };
}

const isSame = (one: ResourcePredicate, other: ResourcePredicate) =>
  [true, false].some((value) => isConstant(one, value) && isConstant(other, value));

function predicateOf<Row>(filter: ResourceFilter, { columns, placed = "every" }: RowsAsThings<Row>): ResourcePredicate {
  if (columns.environment === undefined) return filter.whereUnplaced;
  if (placed === "every" || isSame(filter.where, filter.whereUnplaced)) return filter.where;
  const hasPlace: ResourcePredicate = { has: "environment" };
  const placedOnes = { all: [hasPlace, filter.where] };
  return simplified({ any: [placedOnes, { all: [{ not: hasPlace }, filter.whereUnplaced] }] });
}
