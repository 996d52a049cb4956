import type { Socket } from "node:net";
import { HEADER_BYTES, readU32, writeU32 } from "./frame.ts";

/** Frames of one tick are gathered in blocks of this size. */
const BLOCK_BYTES = 64 * 1024;
/** Messages from here on are handed to the system as they are instead of being copied into a block. */
const LARGE_BYTES = 16 * 1024;
/** More than this waiting for a slow reader: streams pause. */
const BUSY_BYTES = 256 * 1024;
/** So many frames leave without waiting for the end of the tick, or the two sides would work in turns, not at once. */
const FRAMES_AT_ONCE = 16;
/** Blocks kept for the next connection that has something to say. */
const SPARE_BLOCKS = 16;

const NOTHING = Buffer.alloc(0);
const spare: Buffer[] = [];

/**
 * Writes frames to a socket: the frames of one tick leave together, up to sixteen in one system call, and while the peer does not read, what
 * waits is packed densely and counted, so that senders can pause.
 */
export class FrameWriter {
  /** Where the head of the frame just begun goes; valid until `finish`. */
  block: Buffer = NOTHING;
  readonly #socket: Socket;
  /** Bytes of the block before this have been set aside already. */
  #start = 0;
  #end = 0;
  #frameAt = 0;
  #aside: Uint8Array[] = [];
  #asideBytes = 0;
  #scheduled = false;
  #framesWaiting = 0;
  #writing = false;
  #closed = false;
  #waiting: (() => void)[] = [];
  readonly #flushSoon = () => {
    this.#scheduled = false;
    this.#flush();
  };
  readonly #written = (error?: Error | null) => {
    if (error) this.close();
    else if (this.#writing) this.#afterWrite();
  };
  readonly #release = () => {
    for (const resume of this.#waiting.splice(0)) resume();
  };

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Bytes that the system has not taken yet. */
  get backlog(): number {
    return this.#asideBytes + this.#end - this.#start + this.#socket.writableLength;
  }

  /** Resolves once the peer has caught up, or the connection has ended; undefined if there is nothing to wait for. */
  drained(): Promise<void> | undefined {
    if (this.#closed || this.backlog < BUSY_BYTES) return undefined;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /**
   * Writes a frame's header and makes room for the first `headBytes` of its data.
   * @returns where in `block` they go
   */
  begin(stream: number, kind: number, headBytes: number): number {
    this.#makeRoom(HEADER_BYTES + headBytes);
    const at = this.#end;
    const { block } = this;
    writeU32(block, at, headBytes);
    writeU32(block, at + 4, stream);
    block[at + 8] = kind >>> 8;
    block[at + 9] = kind & 0xff;
    this.#frameAt = at;
    this.#end = at + HEADER_BYTES + headBytes;
    return at + HEADER_BYTES;
  }

  /** Adds the rest of the data of the frame just begun; the bytes must not be changed afterwards. */
  finish(payload: Uint8Array): void {
    const { length } = payload;
    if (length > 0) {
      writeU32(this.block, this.#frameAt, readU32(this.block, this.#frameAt) + length);
      if (length >= LARGE_BYTES) this.#append(payload);
      else this.#copy(payload);
    }
    this.#framesWaiting += 1;
    if (this.#framesWaiting >= FRAMES_AT_ONCE) this.#flush();
    if (!this.#scheduled && !this.#closed) {
      this.#scheduled = true;
      process.nextTick(this.#flushSoon);
    }
    if (this.#closed) this.#forget();
  }

  #copy(payload: Uint8Array): void {
    this.#makeRoom(payload.length);
    this.block.set(payload, this.#end);
    this.#end += payload.length;
  }

  #append(payload: Uint8Array): void {
    this.#setAside();
    this.#aside.push(payload);
    this.#asideBytes += payload.length;
  }

  #makeRoom(bytes: number): void {
    if (this.#end + bytes <= this.block.length) return;
    this.#setAside();
    this.block =
      bytes > BLOCK_BYTES ? Buffer.allocUnsafeSlow(bytes) : (spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES));
    this.#start = 0;
    this.#end = 0;
  }

  #setAside(): void {
    if (this.#end === this.#start) return;
    this.#aside.push(this.block.subarray(this.#start, this.#end));
    this.#asideBytes += this.#end - this.#start;
    this.#start = this.#end;
  }

  #flush(): void {
    if (this.#writing || this.#closed) return;
    this.#hand();
    if (this.#socket.writableLength > 0) {
      this.#writing = true;
      this.#forget();
      return;
    }
    // The system has copied everything, so the block is free again.
    if (this.block.length === BLOCK_BYTES && spare.length < SPARE_BLOCKS) spare.push(this.block);
    this.#forget();
    // Not at once: a sender that never runs dry must let the other connections have their turn.
    if (this.#waiting.length > 0) setImmediate(this.#release);
  }

  #hand(): void {
    this.#framesWaiting = 0;
    this.#setAside();
    const chunks = this.#aside;
    if (chunks.length === 0) return;
    this.#aside = [];
    this.#asideBytes = 0;
    if (chunks.length === 1) {
      this.#socket.write(chunks[0] as Uint8Array, this.#written);
      return;
    }
    this.#socket.cork();
    for (const chunk of chunks) this.#socket.write(chunk, this.#written);
    this.#socket.uncork();
  }

  #forget(): void {
    this.block = NOTHING;
    this.#start = 0;
    this.#end = 0;
  }

  #afterWrite(): void {
    if (this.#socket.writableLength > 0) return;
    this.#writing = false;
    this.#flush();
  }

  /** Sends what has been written, then says goodbye. */
  end(): void {
    if (this.#closed) return;
    this.#hand();
    this.close();
    this.#socket.end();
  }

  /** Drops what has not been sent, and everything written from now on. */
  close(): void {
    this.#closed = true;
    this.#aside = [];
    this.#asideBytes = 0;
    this.#forget();
    // Not at once: a sender that never runs dry must let the other connections have their turn.
    if (this.#waiting.length > 0) setImmediate(this.#release);
  }
}
