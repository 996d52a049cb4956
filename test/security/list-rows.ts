import { readFileSync } from "node:fs";

/** A line of docs/security/lists.md. */
export interface ListRow {
  readonly method: string;
  /** What a row is for policies; empty where rows are not told apart. */
  readonly thing: string;
  readonly state: string;
}

/** The lines of the table that people read. */
export function listRows(): ListRow[] {
  const text = readFileSync(new URL("../../docs/security/lists.md", import.meta.url), "utf8");
  return text
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => {
      const [method = "", thing = "", state = ""] = line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim());
      return { method: method.replaceAll("`", ""), thing, state };
    });
}
