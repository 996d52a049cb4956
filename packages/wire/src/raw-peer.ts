import { connect, createServer, type Server, type Socket } from "node:net";
import { HEADER_BYTES, writeU32 } from "./frame.ts";
import { type Frame, FrameReader } from "./frame-reader.ts";
import { until } from "./registry-on-socket.ts";

/** A frame as tests look at it. */
export interface SeenFrame {
  stream: number;
  type: number;
  flags: number;
  data: Buffer;
}

/** The bytes of one frame. */
export function frameBytes(
  stream: number,
  kind: { type: number; flags?: number },
  data: Uint8Array = Buffer.alloc(0),
): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + data.length);
  writeU32(bytes, 0, data.length);
  writeU32(bytes, 4, stream);
  bytes[8] = kind.type;
  bytes[9] = kind.flags ?? 0;
  bytes.set(data, HEADER_BYTES);
  return bytes;
}

/** The other end of a connection, which sends whatever a test wants and notes what comes. */
export class RawPeer {
  readonly socket: Socket;
  readonly frames: SeenFrame[] = [];
  received = Buffer.alloc(0);
  closed = false;

  constructor(socket: Socket, { reads = true }: { reads?: boolean } = {}) {
    this.socket = socket;
    const reader = new FrameReader({
      frame: (frame: Frame) => {
        const { stream, type, flags } = frame;
        this.frames.push({ stream, type, flags, data: Buffer.from(frame.bytes.subarray(frame.start, frame.end)) });
      },
      oversized: () => {},
      garbage: () => {},
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
    });
    if (reads) {
      socket.on("data", (chunk: Buffer) => {
        if (this.received.length < 1 << 20) this.received = Buffer.concat([this.received, chunk]);
        reader.push(chunk);
      });
    }
  }

  /** Connects to a server. */
  static async to(path: string, options?: { reads?: boolean }): Promise<RawPeer> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", () => resolve());
      socket.once("error", reject);
    });
    return new RawPeer(socket, options);
  }

  send(...frames: Buffer[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  /** Waits for a frame; it stays in `frames`. */
  async frame(matches: (frame: SeenFrame) => boolean): Promise<SeenFrame> {
    await until(() => this.frames.some(matches));
    return this.frames.find(matches) as SeenFrame;
  }
}

/** A server that does only what a test tells it; `peers` are those who have connected. */
export async function rawServer(path: string): Promise<{ peers: RawPeer[]; server: Server }> {
  const peers: RawPeer[] = [];
  const server = createServer((socket) => peers.push(new RawPeer(socket)));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return { peers, server };
}
