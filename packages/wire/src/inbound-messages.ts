import type { HmsError } from "@hms/kernel";
import { HEADER_BYTES, MAX_DATA_BYTES } from "./frame.ts";
import { STREAM_WINDOW_BYTES } from "./hello.ts";

/** More than this of one stream is only there if its sender does not heed windows: the connection pauses. */
const OVERFULL_BYTES = STREAM_WINDOW_BYTES + MAX_DATA_BYTES;

/** Messages taken before the space they took is given back. */
const COMPACT_AFTER = 1024;

/** What a queue of messages tells its connection. */
export interface InboundOwner {
  /** The reader has taken so many bytes, frame headers included; told in portions of half a window. */
  taken(bytes: number): void;
  /** The queue has become overfull, or has stopped being so. */
  overfull(full: boolean): void;
}

/** The messages of one stream that have arrived and have not been read. */
export class InboundMessages {
  readonly #owner: InboundOwner;
  #messages: (Uint8Array | undefined)[] = [];
  #next = 0;
  #bytes = 0;
  #taken = 0;
  #full = false;
  #ended = false;
  #error: HmsError | undefined;
  #wake: (() => void) | undefined;

  constructor(owner: InboundOwner) {
    this.#owner = owner;
  }

  /** Adds a message; ignored after the end. */
  push(message: Uint8Array): void {
    if (this.#ended) return;
    this.#messages.push(message);
    this.#bytes += message.length + HEADER_BYTES;
    if (!this.#full && this.#bytes > OVERFULL_BYTES) this.#setFull(true);
    this.#signal();
  }

  /** No more messages follow; with an error the reader gets it after what has arrived. */
  end(error?: HmsError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#signal();
  }

  /** Forgets everything: nobody reads any more. */
  drop(): void {
    this.#ended = true;
    this.#messages = [];
    this.#next = 0;
    this.#bytes = 0;
    this.#setFull(false);
    this.#signal();
  }

  /** Takes the next message; undefined at the end. @throws HmsError the error that ended the stream */
  async take(): Promise<Uint8Array | undefined> {
    while (this.#next === this.#messages.length) {
      if (this.#error) throw this.#error;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#shift();
  }

  #shift(): Uint8Array {
    const message = this.#messages[this.#next] as Uint8Array;
    this.#messages[this.#next] = undefined;
    this.#next += 1;
    if (this.#next === this.#messages.length || this.#next === COMPACT_AFTER) {
      this.#messages.splice(0, this.#next);
      this.#next = 0;
    }
    const bytes = message.length + HEADER_BYTES;
    this.#bytes -= bytes;
    if (this.#full && this.#bytes <= STREAM_WINDOW_BYTES) this.#setFull(false);
    this.#taken += bytes;
    if (!this.#ended && this.#taken >= STREAM_WINDOW_BYTES / 2) {
      this.#owner.taken(this.#taken);
      this.#taken = 0;
    }
    return message;
  }

  #setFull(full: boolean): void {
    if (this.#full === full) return;
    this.#full = full;
    this.#owner.overfull(full);
  }

  #signal(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
