import type { FieldViolation } from "@hms/kernel/errors";
import { visible } from "./quoted.ts";

const WIDTH = 100;

/**
 * Problems of a text for people, one block each: "file:line:column" as editors open it, what is wrong, the line and a caret below it.
 * Lines longer than 100 characters are cut around the caret; nothing of the text can act on a terminal.
 */
export function formatViolations(fileName: string, violations: readonly FieldViolation[], sourceText: string): string {
  const lines = sourceText.replace(/^\ufeff/, "").split(/\r?\n/);
  return violations.map((violation) => formatViolation(fileName, violation, lines)).join("\n");
}

function formatViolation(fileName: string, violation: FieldViolation, lines: string[]): string {
  const { line, column = 1 } = violation;
  const place = line === undefined ? fileName : `${fileName}:${line}:${column}`;
  const field = violation.field ? ` ${visible(violation.field)}:` : "";
  const head = `${place}:${field} ${visible(violation.description)}`;
  const text = line === undefined ? undefined : lines[line - 1];
  if (text === undefined) return head;
  const from = Math.max(0, column - 1 - WIDTH / 2);
  const cut = (part: string) => part.replace(/\t/g, " ");
  const before = visible(cut(text.slice(from, column - 1)));
  const shown = before + visible(cut(text.slice(column - 1, from + WIDTH)));
  const gutter = `  ${line} | `;
  const mark = from > 0 ? "…" : "";
  return `${head}\n${gutter}${mark}${shown}\n${" ".repeat(gutter.length - 2)}| ${" ".repeat(mark.length + before.length)}^`;
}
