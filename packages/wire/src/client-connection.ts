import type { Socket } from "node:net";
import type { DescMethod } from "@bufbuild/protobuf";
import { HmsError, type Metadata } from "@hms/kernel";
import { type CallTerms, deadlineError } from "./call-terms.ts";
import { type ClientCall, StreamCall, UnaryCall } from "./client-call.ts";
import {
  readGoaway,
  readHeaders,
  readWindow,
  writeCancel,
  writeData,
  writeEnd,
  writePing,
  writeWindow,
} from "./control-frames.ts";
import { DeadlineSweep } from "./deadline-sweep.ts";
import { FrameFlag, FrameType, HEADER_BYTES, LAST_STREAM_ID, MAX_DATA_BYTES } from "./frame.ts";
import { FramePort, type PortOwner } from "./frame-port.ts";
import type { Frame } from "./frame-reader.ts";
import { Feature, type Hello, ourHello, readHello, writeHello } from "./hello.ts";
import { InboundMessages } from "./inbound-messages.ts";
import { KeepAlive } from "./keep-alive.ts";
import type { MessageCodec } from "./message-codec.ts";
import { PeerFeatures } from "./peer-features.ts";
import { writeRequest } from "./request-envelope.ts";
import { ResponseEnvelope } from "./response-envelope.ts";

/**
 * HELLO goes out on stream 1 without using it up: stock servers answer anything on an even stream with an error, but
 * skip types they do not know.
 */
const HELLO_STREAM = 1;
const NOTHING = new Uint8Array(0);

/** A call about to be made. */
export interface NewCall {
  readonly method: DescMethod;
  /** The part of the request that is the same for every call of the method. */
  readonly prefix: Uint8Array;
  readonly terms: CallTerms;
  /** The first or only message; undefined: all follow as data. */
  readonly payload: Uint8Array | undefined;
  readonly codec: MessageCodec;
}

/** How a connection behaves. */
export interface ClientConnectionOptions {
  /** Is called once when new calls can no longer start here. */
  readonly onUnusable: () => void;
  /** Default 1. */
  readonly firstStream?: number | undefined;
  /** Default: the peer is not asked for signs of life. */
  readonly keepAliveMs?: number | undefined;
  /** True if the server is known to be one of ours before it has said HELLO. */
  readonly ours?: boolean;
  /** True: calls that wait do not keep the process alive; default false. */
  readonly background?: boolean | undefined;
}

/** One connection to a server, with the calls that wait for it. */
export class ClientConnection implements PortOwner {
  readonly #port: FramePort;
  readonly #options: ClientConnectionOptions;
  readonly #envelope = new ResponseEnvelope();
  readonly #calls = new Map<number, ClientCall>();
  readonly #sweep: DeadlineSweep;
  readonly #keepAlive: KeepAlive | undefined;
  readonly #peer = new PeerFeatures();
  /** Streams given up before it was clear whether the peer understands CANCEL. */
  #cancelled: number[] = [];
  #nextStream: number;
  #usable = true;
  #reason: HmsError | undefined;

  constructor(socket: Socket, options: ClientConnectionOptions) {
    this.#options = options;
    this.#nextStream = options.firstStream ?? 1;
    this.#port = new FramePort(socket, this);
    this.#port.keepAlive(false);
    this.#sweep = new DeadlineSweep(this.#calls, (call) => this.giveUp(call, deadlineError()));
    if (options.keepAliveMs) this.#keepAlive = this.#watchPeer(options.keepAliveMs);
    writeHello(this.#port.writer, HELLO_STREAM, ourHello(0));
  }

  #watchPeer(intervalMs: number): KeepAlive {
    const port = this.#port;
    return new KeepAlive(intervalMs, {
      get chunks() {
        return port.chunks;
      },
      ping: () => {
        if (this.#peer.has(Feature.PING)) writePing(port.writer);
      },
      dead: () => {
        const silent = !this.#peer.known && this.#options.ours === true;
        if (!silent && !this.#peer.has(Feature.PING)) return;
        this.#reason = lost(
          `The server is there, but has given no sign of life for ${(2 * intervalMs) / 1000} s: it was stopped, or its machine is overloaded`,
        );
        port.destroy();
      },
    });
  }

  /** True if new calls can start here. */
  get usable(): boolean {
    return this.#usable;
  }

  /** Makes a unary call. */
  unary(call: NewCall): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const stream = this.#takeStream();
      const { codec, method, terms } = call;
      const { deadlineAt, onMetadata, readAnswer } = terms;
      const waiter = { codec, deadlineAt, onMetadata, readAnswer, resolve, reject };
      this.#send(new UnaryCall(stream, method, waiter), call, 0);
    });
  }

  /** Opens a stream; messages come in by its `inbound`, and `leave` must be called in the end. */
  open(call: NewCall): StreamCall {
    const stream = this.#takeStream();
    const inbound = new InboundMessages({
      taken: (bytes) => {
        if (this.#peer.has(Feature.WINDOW) && this.#calls.has(stream)) writeWindow(this.#port.writer, stream, bytes);
      },
      overfull: (full) => this.#port.pause(full),
    });
    const { deadlineAt, onMetadata } = call.terms;
    const flow = { inbound, window: this.#peer.streamWindow, deadlineAt, onMetadata };
    const opened = new StreamCall(stream, call.method, flow);
    this.#send(opened, call, call.payload === undefined ? FrameFlag.REMOTE_OPEN : FrameFlag.REMOTE_CLOSED);
    return opened;
  }

  #takeStream(): number {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    if (this.#nextStream > LAST_STREAM_ID) this.#retire();
    if (this.#calls.size === 0) this.#busy();
    return stream;
  }

  #busy(): void {
    if (!this.#options.background) this.#port.keepAlive(true);
    this.#keepAlive?.start();
  }

  #idle(): void {
    this.#port.keepAlive(false);
    this.#keepAlive?.stop();
    if (!this.#usable) this.#port.end();
  }

  #send(call: ClientCall, { prefix, terms, payload }: NewCall, flags: number): void {
    const { deadlineAt, signal, metadata } = terms;
    const { stream } = call;
    this.#calls.set(stream, call);
    const timeoutMs = deadlineAt === undefined ? undefined : deadlineAt - performance.now();
    writeRequest(this.#port.writer, { stream, flags, prefix, metadata, timeoutMs, payload: payload ?? NOTHING });
    if (deadlineAt !== undefined) this.#sweep.watch(deadlineAt);
    if (signal !== undefined) this.#follow(call, signal);
  }

  #follow(call: ClientCall, signal: AbortSignal): void {
    const stop = () => this.giveUp(call, HmsError.from(signal.reason));
    if (signal.aborted) {
      stop();
      return;
    }
    signal.addEventListener("abort", stop, { once: true });
    call.settled = () => signal.removeEventListener("abort", stop);
  }

  /** Ends a call from this side and tells the server; nothing happens if it has ended. */
  giveUp(call: ClientCall, error: HmsError): void {
    if (!this.#forget(call)) return;
    call.fail(error);
    this.#cancel(call.stream);
  }

  /** Takes leave of a stream: a running one is cancelled. */
  leave(call: StreamCall): void {
    if (this.#forget(call)) {
      call.end();
      this.#cancel(call.stream);
    }
    call.inbound.drop();
  }

  #forget(call: ClientCall): boolean {
    if (!this.#calls.delete(call.stream)) return false;
    call.settled?.();
    if (this.#calls.size === 0) this.#idle();
    return true;
  }

  #cancel(stream: number): void {
    if (!this.#peer.known) this.#cancelled.push(stream);
    else if (this.#peer.has(Feature.CANCEL)) writeCancel(this.#port.writer, stream);
  }

  /** Sends one more message of a stream, when the peer wants it; false if the call has ended. */
  async sendMessage(call: StreamCall, payload: Uint8Array): Promise<boolean> {
    while (!call.finished) {
      const wait = call.credit.ready() ?? this.#port.writer.drained();
      if (wait === undefined) break;
      await wait;
    }
    if (call.finished) return false;
    call.credit.spend(HEADER_BYTES + payload.length);
    writeData(this.#port.writer, call.stream, payload);
    return true;
  }

  /** Says that no more messages follow. */
  sendEnd(call: StreamCall): void {
    if (!call.finished) writeEnd(this.#port.writer, call.stream);
  }

  frame(frame: Frame): void {
    if (frame.type === FrameType.HELLO) {
      this.#hello(frame);
      return;
    }
    if (!this.#peer.known) this.#meet("stock");
    const call = this.#calls.get(frame.stream);
    if (call !== undefined) this.#callFrame(call, frame);
    else if (frame.type === FrameType.GOAWAY) this.#goaway(frame);
    else if (frame.type === FrameType.PING && (frame.flags & FrameFlag.PONG) === 0) {
      writePing(this.#port.writer, frame);
    }
  }

  #callFrame(call: ClientCall, frame: Frame): void {
    if (frame.type === FrameType.RESPONSE) this.#response(call, frame);
    else if (frame.type === FrameType.DATA) this.#data(call, frame);
    else if (frame.type === FrameType.WINDOW) call.grant(readWindow(frame));
    else if (frame.type === FrameType.HEADERS && call.onMetadata) this.#headers(call, call.onMetadata, frame);
  }

  #headers(call: ClientCall, hear: (metadata: Metadata) => void, frame: Frame): void {
    try {
      hear(readHeaders(frame));
    } catch (error) {
      // The caller's own mistake, which other calls have no part in.
      this.giveUp(call, HmsError.from(error));
    }
  }

  oversized(frame: Frame, length: number): void {
    const call = this.#calls.get(frame.stream);
    if (call === undefined) return;
    const why = `The answer has ${length} bytes; a frame carries at most ${MAX_DATA_BYTES}. Ask for less.`;
    this.giveUp(call, new HmsError("RESOURCE_EXHAUSTED", why, { reason: "MESSAGE_TOO_LARGE" }));
  }

  garbage(): void {
    this.#reason = lost("What answers at the socket does not speak frames");
    this.#port.destroy();
  }

  #hello(frame: Frame): void {
    if (this.#peer.known) return;
    try {
      this.#meet(readHello(frame));
    } catch {
      this.garbage();
    }
  }

  #meet(peer: Hello | "stock"): void {
    this.#peer.meet(peer);
    for (const stream of this.#cancelled.splice(0)) this.#cancel(stream);
    const window = this.#peer.streamWindow;
    if (window === undefined) return;
    for (const call of this.#calls.values()) if (call instanceof StreamCall) call.credit.limit(window);
  }

  #response(call: ClientCall, frame: Frame): void {
    this.#forget(call);
    try {
      this.#envelope.read(frame);
    } catch (cause) {
      call.fail(new HmsError("INTERNAL", "The server's answer cannot be read.", { cause }));
      return;
    }
    const { error, payload } = this.#envelope;
    if (error === undefined) call.answer(payload);
    else call.fail(error);
  }

  #data(call: ClientCall, frame: Frame): void {
    if ((frame.flags & FrameFlag.NO_DATA) === 0) call.data(frame.bytes.subarray(frame.start, frame.end));
    if ((frame.flags & FrameFlag.REMOTE_CLOSED) === 0) return;
    this.#forget(call);
    call.end();
  }

  #goaway(frame: Frame): void {
    const { lastStream, error } = readGoaway(frame);
    this.#reason = error;
    this.#retire();
    const refused = error?.code === "UNAUTHENTICATED" ? error : stopping(error);
    for (const call of [...this.#calls.values()]) {
      if (call.stream > lastStream && this.#forget(call)) call.fail(refused);
    }
    if (this.#calls.size === 0) this.#idle();
  }

  /** Takes no new calls; the connection ends with its last one. */
  #retire(): void {
    if (!this.#usable) return;
    this.#usable = false;
    this.#options.onUnusable();
  }

  /** Ends the connection and every call on it with an error. */
  close(error: HmsError): void {
    this.#reason = error;
    this.#retire();
    for (const call of [...this.#calls.values()]) this.giveUp(call, error);
    this.#port.finish();
  }

  ended(): void {
    this.#retire();
    this.#sweep.stop();
    this.#keepAlive?.stop();
    const error = this.#reason ?? lost("The connection to the server broke; whether the call took effect is unknown");
    for (const call of [...this.#calls.values()]) if (this.#forget(call)) call.fail(error);
  }
}

function stopping(error: HmsError | undefined): HmsError {
  const why = error?.message ?? "The server is stopping; try again.";
  return new HmsError("UNAVAILABLE", why, { reason: "SERVER_STOPPING" });
}

function lost(why: string): HmsError {
  return new HmsError("UNAVAILABLE", `${why}.`, { reason: "CONNECTION_LOST" });
}
