import type { ServerResponse } from "node:http";
import { HmsError } from "@hms/kernel";

/** A client that takes nothing for this long is given up. */
const STALLED_MS = 60_000;

/** Writes a stream's pieces no faster than the client takes them. */
export class StreamWriter {
  readonly #response: ServerResponse;
  readonly #fields: string[];

  constructor(response: ServerResponse, fields: string[]) {
    this.#response = response;
    this.#fields = fields;
  }

  /** Sends the head with status 200, once. */
  open(moreFields: readonly string[] = []): void {
    if (this.#response.headersSent || this.#response.destroyed) return;
    this.#response.writeHead(200, [...this.#fields, ...moreFields]);
    this.#response.flushHeaders();
  }

  /** Writes a piece; undefined if the client can take more at once. Rejects if it leaves or stalls. */
  write(piece: string | Uint8Array): Promise<void> | undefined {
    const response = this.#response;
    if (response.destroyed) return Promise.reject(new HmsError("CANCELLED", "The client left."));
    if (piece.length === 0 || response.write(piece)) return undefined;
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        response.off("drain", onDrain).off("close", onClose);
      };
      const onDrain = () => {
        settle();
        resolve();
      };
      const onClose = () => {
        settle();
        reject(new HmsError("CANCELLED", "The client left."));
      };
      const timer = setTimeout(() => response.destroy(), STALLED_MS).unref();
      response.on("drain", onDrain).on("close", onClose);
    });
  }
}
