import type { FieldViolation } from "@hms/kernel/errors";

const MOST = 100;

/** A place in the manifest's text, 1-based; columns count UTF-16 units, as editors do. */
export interface Position {
  line: number;
  column: number;
}

/** Collects what is wrong with one manifest: the first 100 problems, then a count. */
export class ProblemList {
  readonly #violations: (FieldViolation & Position)[] = [];
  readonly #fields = new Set<string>();
  #left = 0;

  /** Adds a problem; the description gets its full stop here if it has none. */
  add(field: string, position: Position, description: string): void {
    this.#fields.add(field);
    if (this.#violations.length >= MOST) this.#left += 1;
    else
      this.#violations.push({
        field,
        description: /[.?!]$/.test(description) ? description : `${description}.`,
        ...position,
      });
  }

  /** How many problems there are. */
  get size(): number {
    return this.#violations.length + this.#left;
  }

  /** True if something is wrong with a key itself or with a group that it belongs to; what is below it does not count. */
  touches(key: string): boolean {
    return this.#fields.has(key) || (key !== "" && this.touches(key.replace(/\.?[^.]*$/, "")));
  }

  /** All problems in the order of the text; the last one counts those left out, if any. */
  inOrder(): FieldViolation[] {
    const sorted = this.#violations.toSorted((a, b) => a.line - b.line || a.column - b.column);
    const last = sorted.at(-1);
    if (this.#left === 0 || !last) return sorted;
    const description = `${this.#left} further problems are not listed. Mend these first.`;
    return [...sorted, { field: "", description, line: last.line, column: last.column }];
  }
}
