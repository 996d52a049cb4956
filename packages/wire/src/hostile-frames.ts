import { readFileSync } from "node:fs";

/** Bytes of a client that no server should come to harm by, and what it answers; the corpus that fuzzing starts from. */
export interface HostileFrames {
  readonly name: string;
  /** In order: hex, or one byte many times. */
  readonly send: readonly (string | { readonly byte: string; readonly times: number })[];
  /** How each stream ends, "OK" or the name of an error. */
  readonly answers: Readonly<Record<string, string>>;
  /** Whether the server ends the connection by itself. */
  readonly closes: boolean;
}

/** The published corpus. */
export function hostileFrames(): HostileFrames[] {
  const file = new URL("../../../sdks/conformance/hostile-frames.json", import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")) as HostileFrames[];
}

/** The bytes that a client sends. */
export function bytesOf({ send }: HostileFrames): Buffer {
  return Buffer.concat(
    send.map((part) =>
      typeof part === "string" ? Buffer.from(part, "hex") : Buffer.alloc(part.times, Number.parseInt(part.byte, 16)),
    ),
  );
}
