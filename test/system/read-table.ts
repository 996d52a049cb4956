import { readFileSync } from "node:fs";

/** A table of a document: its lines by their first cell, each cell by its column's head. */
export interface DocumentTable {
  readonly columns: readonly string[];
  readonly rows: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Reads the first table of a Markdown document. */
export function readTable(path: string): DocumentTable {
  const lines = readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line.startsWith("|"));
  const cells = (line: string) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  const [, ...columns] = cells(lines[0] ?? "");
  const rows = lines.slice(2).map((line) => {
    const [name = "", ...values] = cells(line);
    return [name, Object.fromEntries(columns.map((column, n) => [column, values[n] ?? ""]))] as const;
  });
  return { columns, rows: Object.fromEntries(rows) };
}
