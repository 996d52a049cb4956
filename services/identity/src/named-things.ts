import { type VisibleRows, visibleRows } from "@hms/authorization";
import type { CallContext } from "@hms/kernel";
import { sql } from "kysely";

/** Which rows of a kind that policies know by nothing but a name, in this column, a caller may see. */
export function visibleByName<Column extends string>(
  context: CallContext,
  column: Column,
): VisibleRows<Readonly<Record<Column, string>>> {
  return visibleRows<Readonly<Record<Column, string>>>(context.filter(), {
    columns: { name: sql.ref(column) },
    thingOf: (row) => ({ name: row[column] }),
  });
}
