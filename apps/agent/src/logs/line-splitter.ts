/** A line, or a part of one. */
export interface LinePiece {
  text: Buffer;
  /** True if the line goes on in the next piece. */
  continues: boolean;
}

/** The longest text stored in one piece, in bytes. */
export const LONGEST_PIECE = 64 * 1024;
const NEWLINE = 0x0a;
const RETURN = 0x0d;

/** Cuts a stream of bytes into lines; a longer line than 64 KiB into pieces. Holds at most one piece. */
export class LineSplitter {
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** The lines that the chunk completes. */
  push(chunk: Buffer): LinePiece[] {
    const pieces: LinePiece[] = [];
    let from = 0;
    while (from < chunk.length) {
      const newline = chunk.indexOf(NEWLINE, from);
      const room = from + LONGEST_PIECE - this.#heldBytes;
      const to = Math.min(newline < 0 ? chunk.length : newline, room);
      if (newline >= 0 && to === newline) {
        pieces.push({ text: this.#take(chunk.subarray(from, to), true), continues: false });
        from = to + 1;
      } else if (to === room) {
        pieces.push({ text: this.#take(chunk.subarray(from, to), false), continues: true });
        from = to;
      } else {
        // The chunk's memory is reused by nobody, but a small rest would keep all of it.
        this.#held.push(Buffer.from(chunk.subarray(from, to)));
        this.#heldBytes += to - from;
        from = to;
      }
    }
    return pieces;
  }

  /** What was not ended by a newline, if anything. */
  flush(): LinePiece[] {
    return this.#heldBytes === 0 ? [] : [{ text: this.#take(Buffer.alloc(0), true), continues: false }];
  }

  #take(rest: Buffer, ended: boolean): Buffer {
    const text = this.#held.length === 0 ? rest : Buffer.concat([...this.#held, rest]);
    this.#held = [];
    this.#heldBytes = 0;
    return ended && text.at(-1) === RETURN ? text.subarray(0, -1) : text;
  }
}
