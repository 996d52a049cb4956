import { readFileSync } from "node:fs";

/** A line of docs/security/authorization.md. */
export interface AuthorizationRow {
  readonly permission: string;
  /** By the head of the column: "known", "viewer", … */
  readonly cells: Readonly<Record<string, string>>;
}

/** The lines of the table that people read, by the method's full name. */
export function authorizationRows(): Map<string, AuthorizationRow> {
  const text = readFileSync(new URL("../../docs/security/authorization.md", import.meta.url), "utf8");
  const lines = text.split("\n").filter((line) => line.startsWith("|"));
  const cellsOf = (line: string) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  const head = cellsOf(lines[0] ?? "");
  const rows = lines.slice(2).map((line) => cellsOf(line).map((cell) => cell.replaceAll("`", "")));
  return new Map(
    rows.map(([method = "", permission = "", ...cells]) => {
      return [method, { permission, cells: Object.fromEntries(cells.map((cell, i) => [head[i + 2] ?? "", cell])) }];
    }),
  );
}
