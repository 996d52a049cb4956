import type { Socket } from "node:net";

/** "PRI * HTTP/2.0", the client's preface (RFC 9113, section 3.4); no HTTP/1.1 method begins so. */
const HTTP2_START = "PRI ";
const UPPER_A = 0x41;
const UPPER_Z = 0x5a;

/** What a connection speaks, by its first bytes; "none" is nothing that anybody answers here. */
export type FirstProtocol = "frames" | "http1" | "http2" | "none";

/** How the first bytes are waited for. */
export interface FirstBytesOptions {
  /** Who has not said enough by then is let go; undefined: it may take its time. */
  readonly withinMs?: number | undefined;
  /** Is told what is spoken, and what has been read so far; nothing else reads the socket yet. */
  readonly decided: (protocol: FirstProtocol, read: Buffer) => void;
}

/** Reads a connection until its first bytes say what is spoken. */
export function readFirstBytes(socket: Socket, { withinMs, decided }: FirstBytesOptions): void {
  const late = withinMs === undefined ? undefined : setTimeout(() => socket.destroy(), withinMs);
  if (late !== undefined) socket.once("close", () => clearTimeout(late));
  let seen: Buffer = Buffer.alloc(0);
  const look = () => {
    const chunk: Buffer | null = socket.read();
    if (chunk === null) return;
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    if (isUndecided(seen)) return;
    socket.off("readable", look);
    clearTimeout(late);
    decided(protocolOf(seen), seen);
  };
  socket.on("readable", look);
}

/** True while the bytes could still become the preface of HTTP/2 or a method of HTTP/1.1 that begins like it. */
function isUndecided(bytes: Buffer): boolean {
  return bytes.length < HTTP2_START.length && HTTP2_START.startsWith(bytes.toString("latin1"));
}

function protocolOf(bytes: Buffer): FirstProtocol {
  const [letter = 0] = bytes;
  if (letter === 0) return "frames";
  if (bytes.toString("latin1", 0, HTTP2_START.length) === HTTP2_START) return "http2";
  return letter >= UPPER_A && letter <= UPPER_Z ? "http1" : "none";
}
