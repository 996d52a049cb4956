const SHORTEST = 8;
const SHOWN = "***";

/**
 * Hides values of secrets in what a program says: each line of a value that has 8 bytes or more becomes `***`, wherever it
 * stands. What a program says of them in another form (base64, letter by letter) is not recognised.
 */
export class SecretMask {
  readonly #lines: readonly string[];

  constructor(values: Iterable<string>) {
    const lines = [...values].flatMap((value) => value.split(/\r?\n/)).map((line) => latin1(Buffer.from(line)));
    this.#lines = [...new Set(lines.filter((line) => line.length >= SHORTEST))].sort((a, b) => b.length - a.length);
  }

  /** Hides them in one stream of bytes. */
  stream(): MaskedStream {
    return new MaskedStream(this.#lines);
  }
}

/** One stream of bytes; what may be the beginning of a secret is held back until it is known. */
export class MaskedStream {
  readonly #lines: readonly string[];
  readonly #pattern: RegExp | undefined;
  readonly #longest: number;
  #held = "";

  constructor(lines: readonly string[]) {
    this.#lines = lines;
    this.#longest = lines[0]?.length ?? 0;
    const escaped = lines.map((line) => line.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
    if (escaped.length > 0) this.#pattern = new RegExp(escaped.join("|"), "g");
  }

  /** What is known of the stream by now, with this chunk. */
  push(chunk: Buffer): Buffer {
    if (this.#pattern === undefined) return chunk;
    const text = this.#held + latin1(chunk);
    let shown = "";
    let done = 0;
    let known = this.#known(text, 0);
    for (;;) {
      this.#pattern.lastIndex = done;
      const match = this.#pattern.exec(text);
      if (match === null || match.index >= known) break;
      shown += text.slice(done, match.index) + SHOWN;
      done = match.index + match[0].length;
      if (done > known) known = this.#known(text, done);
    }
    this.#held = text.slice(known);
    return Buffer.from(shown + text.slice(done, known), "latin1");
  }

  /** What was held back, at the end of the stream. */
  end(): Buffer {
    const rest = this.#held;
    this.#held = "";
    return Buffer.from(this.#pattern ? rest.replace(this.#pattern, SHOWN) : rest, "latin1");
  }

  /** From where on a text may be the beginning of a secret. */
  #known(text: string, from: number): number {
    for (let at = Math.max(from, text.length - this.#longest + 1); at < text.length; at += 1) {
      const rest = text.slice(at);
      if (this.#lines.some((line) => line.length > rest.length && line.startsWith(rest))) return at;
    }
    return text.length;
  }
}

/** Bytes as characters, so that what is not UTF-8 stays as it is. */
const latin1 = (bytes: Buffer) => bytes.toString("latin1");
