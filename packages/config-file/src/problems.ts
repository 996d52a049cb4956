import { type FieldViolation, HmsError } from "@hms/kernel/errors";

const MOST = 100;

/** Collects what is wrong with one text, with line and column. */
export class Problems {
  readonly #text: string;
  readonly #found: (FieldViolation & { offset: number })[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  /** Adds what is wrong at an offset of the text; the first 100 are kept. */
  add(field: string, offset: number, description: string): void {
    if (this.#found.length < MOST) this.#found.push({ field, description, offset });
  }

  /** How many there are. */
  get size(): number {
    return this.#found.length;
  }

  /** INVALID_ARGUMENT, reason CONFIG_FILE_INVALID, with all of them in the order of the text. */
  error(what: string): HmsError {
    const fieldViolations = this.#found
      .toSorted((a, b) => a.offset - b.offset)
      .map(({ field, description, offset }) => ({ field, description, ...this.#position(offset) }));
    const lines = fieldViolations.map(({ field, description, line, column }) => {
      const where = field === "" ? "" : ` ${field}`;
      return `${line}:${column}${where} ${description}.`;
    });
    return new HmsError("INVALID_ARGUMENT", `${what} cannot be used. ${lines.join(" ")}`, {
      reason: "CONFIG_FILE_INVALID",
      fieldViolations,
    });
  }

  #position(offset: number): { line: number; column: number } {
    const before = this.#text.slice(0, offset);
    return { line: before.split("\n").length, column: offset - before.lastIndexOf("\n") };
  }
}
