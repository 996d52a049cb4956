import type { IncomingMessage } from "node:http";
import { HmsError } from "@hms/kernel";
import { EdgeFault, fault } from "./edge-fault.ts";

const SWEEP_MS = 1000;

interface Reading {
  deadlineAt: number;
  expire(): void;
}

/** What bodies may take. */
export interface BodyLimits {
  /** Of one body. */
  readonly maxBytes: number;
  /** Of all that are being read. */
  readonly maxTotalBytes: number;
  /** For one body, in milliseconds. */
  readonly timeoutMs: number;
}

/** Reads request bodies to their end, within a size and a time. */
export class BodyReader {
  readonly maxBytes: number;
  readonly #timeoutMs: number;
  readonly #maxTotalBytes: number;
  #totalBytes = 0;
  readonly #running = new Set<Reading>();
  #sweeper: NodeJS.Timeout | undefined;

  constructor({ maxBytes, timeoutMs, maxTotalBytes }: BodyLimits) {
    this.maxBytes = maxBytes;
    this.#timeoutMs = timeoutMs;
    this.#maxTotalBytes = maxTotalBytes;
  }

  /**
   * The whole body.
   * @throws EdgeFault with status 413 if it is larger than `maxBytes`, 408 if it does not arrive in time, CANCELLED if
   * the client leaves, RESOURCE_EXHAUSTED if all bodies together take too much
   */
  read(request: IncomingMessage): Promise<Buffer> {
    if (Number(request.headers["content-length"] ?? 0) > this.maxBytes) return Promise.reject(this.tooLarge());
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      const reading = { deadlineAt: performance.now() + this.#timeoutMs, expire: () => fail(tooSlow()) };
      const settle = () => {
        this.#running.delete(reading);
        this.#totalBytes -= bytes;
        request.off("data", onData).off("end", onEnd).off("close", onClose);
      };
      const fail = (error: unknown) => {
        settle();
        request.resume();
        reject(error);
      };
      const onData = (chunk: Buffer) => {
        bytes += chunk.length;
        this.#totalBytes += chunk.length;
        if (bytes > this.maxBytes) fail(this.tooLarge());
        else if (this.#totalBytes > this.#maxTotalBytes) fail(tooMany());
        else chunks.push(chunk);
      };
      const onEnd = () => {
        settle();
        resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, bytes));
      };
      const onClose = () => fail(new HmsError("CANCELLED", "The client left before its request was complete."));
      request.on("data", onData).on("end", onEnd).on("close", onClose);
      this.#watch(reading);
    });
  }

  /** The fault of a body or message that is too large. */
  tooLarge(): EdgeFault {
    return fault("RESOURCE_EXHAUSTED", `The request's body is larger than ${this.maxBytes} bytes.`, {
      status: 413,
      reason: "BODY_TOO_LARGE",
    });
  }

  #watch(reading: Reading): void {
    this.#running.add(reading);
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  #sweep(): void {
    const now = performance.now();
    for (const reading of this.#running) if (reading.deadlineAt <= now) reading.expire();
    if (this.#running.size > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }
}

function tooMany(): EdgeFault {
  const message = "Too many large requests are arriving at once; try again in a second.";
  return new EdgeFault(new HmsError("RESOURCE_EXHAUSTED", message, { reason: "BODIES_TOO_MANY", retryAfterMs: 1000 }));
}

function tooSlow(): EdgeFault {
  return fault("DEADLINE_EXCEEDED", "The request's body did not arrive in time.", {
    status: 408,
    reason: "BODY_TOO_SLOW",
  });
}
