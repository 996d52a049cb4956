import { connect, Socket } from "node:net";
import { carefulLookup, outgoingTo } from "@hms/kernel";
import type { ResponseHead } from "./response-head.ts";
import { ResponseParser, type ResponseSink } from "./response-parser.ts";

/** What happened to a connection in use. */
export type UpstreamFailure =
  /** No connection came about; no byte was sent. */
  | "connect"
  /** It ended before the response did. */
  | "closed"
  | "malformed"
  | "timeout"
  /** Its server is there and does not react. */
  | "silent";

/** Who uses a connection for one exchange; told everything until it releases or destroys it. */
export interface UpstreamUser extends ResponseSink {
  onUpstreamConnected(): void;
  onUpstreamFailure(failure: UpstreamFailure, reason: string): void;
  /** All bytes of one read were handed over. */
  onReadEnd(): void;
  onUpstreamDrain(): void;
  /** Bytes after a 101, only valid during the call. */
  onTunnelData(bytes: Buffer, start: number, end: number): void;
  /** The other side of a tunnel has said its last byte. */
  onTunnelEnd(): void;
}

/** Who keeps a connection. */
export interface UpstreamOwner {
  readonly host: string;
  readonly port: number;
  /** A unix socket instead of host and port. */
  readonly socketPath?: string | undefined;
  /** A program of this machine has asked for it, which could connect there itself; default: the platform goes there. */
  readonly isOutside?: boolean | undefined;
  /** An idle connection can no longer be used, or a connection is gone. */
  onConnectionGone(connection: UpstreamConnection): void;
}

// One buffer serves every connection: a read is handed on, or copied, before the next one starts.
const readBuffer = Buffer.allocUnsafeSlow(65_536);

const ignoreUser: UpstreamUser = {
  onUpstreamConnected() {},
  onUpstreamFailure() {},
  onReadEnd() {},
  onUpstreamDrain() {},
  onTunnelData() {},
  onTunnelEnd() {},
  onInformational() {},
  onResponseHead() {},
  onResponseBody() {},
  onResponseEnd() {},
};

/** Reading goes on while `onRead` answers true. */
type OnRead = (bytes: Buffer, size: number) => boolean;

function openSocket({ socketPath, host, port, isOutside }: UpstreamOwner, onRead: OnRead): Socket {
  const onread = { buffer: readBuffer, callback: (size: number, bytes: Uint8Array) => onRead(bytes as Buffer, size) };
  if (socketPath !== undefined) return connect({ path: socketPath, noDelay: true, onread });
  try {
    const way = isOutside ? { lookup: carefulLookup } : outgoingTo(host);
    return connect({ host, port, ...way, noDelay: true, onread });
  } catch (error) {
    return new Socket().destroy(error as Error);
  }
}

/** One connection to an endpoint: a socket, a response parser, and at most one user at a time. */
export class UpstreamConnection implements ResponseSink {
  readonly socket: Socket;
  readonly #owner: UpstreamOwner;
  readonly #parser: ResponseParser;
  #user: UpstreamUser;
  #isPaused = false;
  #isTunnel = false;
  isConnected = false;
  /** In use, from connect or take until release. */
  isBusy = true;
  isGone = false;
  /** Requests sent on it so far. */
  requests = 0;
  /** When an idle connection is no longer safe to use, in `performance.now()` time. */
  usableUntil = 0;
  /** When the present user is told "timeout"; Infinity: never. */
  deadlineAt = Number.POSITIVE_INFINITY;

  constructor(owner: UpstreamOwner, user: UpstreamUser, maxHeadBytes: number) {
    this.#owner = owner;
    this.#user = user;
    this.#parser = new ResponseParser(this, maxHeadBytes);
    this.socket = openSocket(owner, (bytes, size) => this.#onRead(bytes, size));
    this.socket.on("connect", () => {
      this.isConnected = true;
      this.#user.onUpstreamConnected();
    });
    this.socket.on("drain", () => this.#user.onUpstreamDrain());
    this.socket.on("end", () => this.#onEnd());
    this.socket.on("error", (error: NodeJS.ErrnoException) => this.#onGone(error.code ?? error.message));
    this.socket.on("close", () => this.#onGone("connection closed"));
  }

  /** Gives an idle connection to a user. */
  take(user: UpstreamUser): void {
    this.isBusy = true;
    this.#user = user;
  }

  /** Announces a request that is about to be written. */
  expectResponse(method: string): void {
    this.requests++;
    this.#parser.expect(method);
  }

  /** From now on bytes belong to a tunnel. */
  becomeTunnel(): void {
    this.#isTunnel = true;
    this.deadlineAt = Number.POSITIVE_INFINITY;
  }

  /** Whether its bytes are no longer HTTP. */
  get isTunnel(): boolean {
    return this.#isTunnel;
  }

  /** The server's head of the response that runs. */
  get head(): ResponseHead {
    return this.#parser.head;
  }

  /** Stops reading until `resume`. */
  pause(): void {
    this.#isPaused = true;
  }

  /** Reads again. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.socket.resume();
  }

  /** Ends the use of a connection that can serve again. */
  release(): void {
    this.isBusy = false;
    this.deadlineAt = Number.POSITIVE_INFINITY;
    this.#user = ignoreUser;
  }

  /** Cuts it; its user hears nothing more. */
  destroy(): void {
    this.#user = ignoreUser;
    this.socket.destroy();
    this.#onGone("destroyed");
  }

  /** Its deadline has passed. */
  expire(): void {
    if (this.isConnected) this.fail("timeout", "no answer in time");
    else this.fail("connect", "no connection in time");
  }

  /** Fails the present user. */
  fail(failure: UpstreamFailure, reason: string): void {
    const user = this.#user;
    this.destroy();
    user.onUpstreamFailure(failure, reason);
  }

  #onRead(bytes: Buffer, size: number): boolean {
    if (this.#isTunnel) {
      this.#user.onTunnelData(bytes, 0, size);
      return !this.#isPaused;
    }
    // Bytes nobody asked for: the connection cannot be trusted with another request.
    if (this.#parser.isIdle) {
      this.fail("malformed", "bytes before a request");
      return true;
    }
    const user = this.#user;
    const read = this.#parser.execute(bytes, 0, size);
    if (typeof read === "string") this.fail("malformed", read);
    else if (read < size) this.#onSurplus(bytes, read, size);
    user.onReadEnd();
    return !this.#isPaused;
  }

  #onSurplus(bytes: Buffer, start: number, end: number): void {
    if (this.#isTunnel) this.#user.onTunnelData(bytes, start, end);
    else if (!this.isGone) this.fail("malformed", "bytes after the response");
  }

  #onEnd(): void {
    if (this.#isTunnel) {
      this.#user.onTunnelEnd();
      return;
    }
    if (this.#parser.endsWithConnection) {
      const user = this.#user;
      this.#parser.finish();
      user.onReadEnd();
    }
    this.#onGone("connection closed by the service");
    this.socket.destroy();
  }

  #onGone(reason: string): void {
    if (this.isGone) return;
    this.isGone = true;
    const user = this.#user;
    this.#user = ignoreUser;
    this.#owner.onConnectionGone(this);
    user.onUpstreamFailure(this.isConnected ? "closed" : "connect", reason);
  }

  onInformational(head: ResponseHead): void {
    this.#user.onInformational(head);
  }

  onResponseHead(head: ResponseHead): void {
    this.#user.onResponseHead(head);
  }

  onResponseBody(bytes: Buffer, start: number, end: number): void {
    this.#user.onResponseBody(bytes, start, end);
  }

  onResponseEnd(): void {
    this.#user.onResponseEnd();
  }
}
