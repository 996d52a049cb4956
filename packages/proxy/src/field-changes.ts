import type { FieldChanges } from "./route-rules.ts";

/** Leaves out, of lines with their ends, fields of these lower-case names. */
function withoutFields(lines: string, names: ReadonlySet<string>): string {
  return lines
    .split("\r\n")
    .filter((line) => line === "" || !names.has(line.slice(0, line.indexOf(":")).toLowerCase()))
    .join("\r\n");
}

/** Whether lines have a field of this lower-case name. */
export function hasField(lines: string, name: string): boolean {
  const lower = lines.toLowerCase();
  return lower.startsWith(`${name}:`) || lower.includes(`\r\n${name}:`);
}

/** Changes of fields, made ready once. */
export class FieldEdit {
  readonly #names: ReadonlySet<string>;
  readonly #added: string;

  constructor({ set, remove }: FieldChanges) {
    this.#names = new Set([...remove, ...Object.keys(set)].map((name) => name.toLowerCase()));
    this.#added = Object.entries(set)
      .map(([name, value]) => `${name.toLowerCase()}: ${value}\r\n`)
      .join("");
  }

  /** Lines with their ends, changed. */
  apply(lines: string): string {
    return (this.#names.size === 0 ? lines : withoutFields(lines, this.#names)) + this.#added;
  }
}
