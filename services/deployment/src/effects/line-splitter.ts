/** The longest line that is passed on whole, in characters. */
export const LONGEST_LINE = 16 * 1024;

/**
 * Cuts what a command says, in UTF-8, into lines; a longer line than 16 KiB into several. It holds no more than that, however
 * much a command says without a newline.
 */
export class LineSplitter {
  readonly #take: (line: string) => void;
  readonly #decoder = new TextDecoder();
  #rest = "";

  /** `take` is called with each line as it is complete. */
  constructor(take: (line: string) => void) {
    this.#take = take;
  }

  /** Takes what comes next. */
  add(data: Uint8Array): void {
    this.#add(this.#decoder.decode(data, { stream: true }));
  }

  /** Passes on what was not ended by a newline. */
  end(): void {
    this.#add(this.#decoder.decode());
    if (this.#rest !== "") this.#endLine();
  }

  #add(text: string): void {
    let from = 0;
    for (let newline = text.indexOf("\n"); newline !== -1; newline = text.indexOf("\n", from)) {
      this.#addToLine(text.slice(from, newline));
      this.#endLine();
      from = newline + 1;
    }
    this.#addToLine(text.slice(from));
  }

  #addToLine(text: string): void {
    this.#rest += text;
    while (this.#rest.length > LONGEST_LINE) {
      // A character outside of the basic plane takes two places, and half of it is none.
      const end = isHighSurrogate(this.#rest.charCodeAt(LONGEST_LINE - 1)) ? LONGEST_LINE - 1 : LONGEST_LINE;
      this.#take(this.#rest.slice(0, end));
      this.#rest = this.#rest.slice(end);
    }
  }

  #endLine(): void {
    const line = this.#rest.replace(/\r$/, "");
    this.#rest = "";
    this.#take(line);
  }
}

const isHighSurrogate = (code: number) => code >= 0xd800 && code <= 0xdbff;
