import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { mismatches } from "./matcher.ts";
import { type FrameText, frameBytes, frameText, HELLO } from "./raw-frames.ts";
import { RawReader } from "./raw-reader.ts";

const PATIENCE_MS = 5000;
const SILENCE_MS = 150;

/** Waits until something is there. @throws after 5 s */
async function until<T>(look: () => T | undefined, what: () => string): Promise<T> {
  for (const giveUpAt = Date.now() + PATIENCE_MS; ; ) {
    const found = look();
    if (found !== undefined) return found;
    if (Date.now() > giveUpAt) throw new Error(`${what()} within ${PATIENCE_MS} ms.`);
    await pause(2);
  }
}

/** One end of a connection that sends what a scenario says. */
export class RawConnection {
  readonly #socket: Socket;
  readonly #unread: FrameText[] = [];
  #came = 0;
  #first: FrameText | undefined;
  #closed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    const reader = new RawReader();
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#closed = true;
    });
    socket.on("end", () => socket.end());
    socket.on("data", (piece: Buffer) => {
      for (const frame of reader.push(piece)) {
        const text = frameText(frame);
        if (this.#came++ === 0) this.#first = text;
        this.#unread.push(text);
      }
    });
  }

  /** Connects to a peer's address. */
  static async to(address: string): Promise<RawConnection> {
    const url = new URL(address);
    const socket = url.protocol === "unix:" ? connect(url.pathname) : connect(Number(url.port), url.hostname);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new RawConnection(socket);
  }

  write(what: unknown, pieces?: number): void {
    const listed = (Array.isArray(what) ? what : [what]) as (FrameText | string)[];
    const bytes = Buffer.concat(listed.map((each) => frameBytes(typeof each === "string" ? HELLO : each)));
    if (pieces === undefined) this.#socket.write(bytes);
    else for (let at = 0; at < bytes.length; at += pieces) this.#socket.write(bytes.subarray(at, at + pieces));
  }

  /** Whether a frame of this kind has come. */
  has({ kind }: FrameText): boolean {
    return this.#unread.some((each) => each.kind === kind);
  }

  /** Takes the first frame of this kind and stream that has come, if there is one. */
  take({ kind, stream }: FrameText): FrameText | undefined {
    const at = this.#unread.findIndex((each) => each.kind === kind && (stream === undefined || each.stream === stream));
    return at < 0 ? undefined : this.#unread.splice(at, 1)[0];
  }

  /** Reads a frame. @throws if it does not come or does not match */
  async read(expected: FrameText & { first?: boolean }): Promise<FrameText> {
    const { first, ...parts } = expected;
    const came = await until(
      () => this.take(expected),
      () =>
        `No ${expected.kind} on stream ${expected.stream} (unread: ${this.unread}${this.#closed ? ", closed" : ""})`,
    );
    if (first && came !== this.#first) throw new Error(`The first frame was ${JSON.stringify(this.#first)}.`);
    const wrong = mismatches(parts, came, false, "frame");
    if (wrong.length > 0) throw new Error(wrong.join("\n"));
    return came;
  }

  get unread(): string {
    return this.#unread.map(({ kind, stream }) => `${kind} ${stream}`).join(", ") || "nothing";
  }

  /** @throws if something comes on a stream */
  async silent({ stream, except }: { stream: number; except?: string }): Promise<void> {
    await pause(SILENCE_MS);
    const heard = this.#unread.filter((each) => each.stream === stream && each.kind !== except);
    if (heard.length > 0) throw new Error(`Stream ${stream} is not silent: ${JSON.stringify(heard).slice(0, 500)}`);
  }

  /** Waits for the other side to end the connection. @throws if it does not */
  async closed(): Promise<void> {
    await until(
      () => this.#closed || undefined,
      () => `The connection was not closed (unread: ${this.unread})`,
    );
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** A socket at which a scenario answers. */
export class RawServer {
  readonly #server: Server;
  readonly #waiting: RawConnection[] = [];
  readonly #all: RawConnection[] = [];

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => {
      const made = new RawConnection(socket);
      this.#waiting.push(made);
      this.#all.push(made);
    });
  }

  static async at(path: string): Promise<RawServer> {
    const server = createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return new RawServer(server);
  }

  /** Takes a further connection, if there is one. */
  accepted(): RawConnection | undefined {
    return this.#waiting.shift();
  }

  /** Waits for a further connection. @throws if nobody connects */
  accept(): Promise<RawConnection> {
    return until(
      () => this.accepted(),
      () => "Nobody connected",
    );
  }

  async close(): Promise<void> {
    for (const each of this.#all) each.close();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
