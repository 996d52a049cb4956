import type { Socket } from "node:net";
import type { DescMethod } from "@bufbuild/protobuf";
import { HmsError } from "@hms/kernel";
import type { CallTerms } from "./call-terms.ts";
import { deadlineError } from "./call-terms.ts";
import { type ClientCall, StreamCall, UnaryCall } from "./client-call.ts";
import { readGoaway, readWindow, writeCancel, writeData, writeEnd, writePing, writeWindow } from "./control-frames.ts";
import { DeadlineSweep } from "./deadline-sweep.ts";
import { FrameFlag, FrameType, HEADER_BYTES, LAST_STREAM_ID, MAX_DATA_BYTES } from "./frame.ts";
import { type Frame, FrameReader, type FrameSink } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { Feature, type Hello, ourHello, readHello, writeHello } from "./hello.ts";
import { InboundMessages } from "./inbound-messages.ts";
import { writeRequest } from "./request-envelope.ts";
import { ResponseEnvelope } from "./response-envelope.ts";

/**
 * HELLO goes out on stream 1 without using it up: stock servers answer anything on an even stream with an error, but
 * skip types they do not know.
 */
const HELLO_STREAM = 1;

/** A call about to be made. */
export interface NewCall {
  readonly method: DescMethod;
  /** The part of the request that is the same for every call of the method. */
  readonly prefix: Uint8Array;
  readonly terms: CallTerms;
  /** The first or only message; undefined: all follow as data. */
  readonly payload: Uint8Array | undefined;
}

/** One connection to a server, with the calls that wait for it. */
export class ClientConnection implements FrameSink {
  readonly #socket: Socket;
  readonly #writer: FrameWriter;
  readonly #reader = new FrameReader(this);
  readonly #envelope = new ResponseEnvelope();
  readonly #calls = new Map<number, ClientCall>();
  readonly #sweep: DeadlineSweep;
  readonly #onUnusable: () => void;
  /** Undefined until the peer's first frame; null for a peer without extensions. */
  #peer: Hello | null | undefined;
  #cancelLater: number[] = [];
  #nextStream: number;
  #pauses = 0;
  #usable = true;
  #reason: HmsError | undefined;

  constructor(socket: Socket, options: { onUnusable: () => void; firstStream?: number | undefined }) {
    this.#socket = socket;
    this.#onUnusable = options.onUnusable;
    this.#nextStream = options.firstStream ?? 1;
    this.#writer = new FrameWriter(socket);
    this.#sweep = new DeadlineSweep(this.#calls, (call) => this.#giveUp(call, deadlineError()));
    socket.unref();
    socket.on("data", (chunk: Buffer) => this.#reader.push(chunk));
    socket.on("end", () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#ended());
    writeHello(this.#writer, HELLO_STREAM, ourHello(0));
  }

  /** True if new calls can start here. */
  get usable(): boolean {
    return this.#usable;
  }

  /** Makes a unary call. */
  unary(call: NewCall): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const stream = this.#take();
      const { deadlineAt } = call.terms;
      this.#send(new UnaryCall(stream, call.method, { deadlineAt, resolve, reject }), call, 0);
    });
  }

  /** Opens a stream; messages come in by its `inbound`, and `leave` must be called in the end. */
  open(call: NewCall): StreamCall {
    const stream = this.#take();
    const inbound = new InboundMessages({
      taken: (bytes) => this.#grant(stream, bytes),
      overfull: (full) => this.#pause(full),
    });
    const opened = new StreamCall(stream, call.method, { inbound, deadlineAt: call.terms.deadlineAt });
    if (this.#has(Feature.WINDOW)) opened.credit.limit(this.#peer?.streamWindow ?? 0);
    this.#send(opened, call, call.payload === undefined ? FrameFlag.REMOTE_OPEN : FrameFlag.REMOTE_CLOSED);
    return opened;
  }

  #take(): number {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    if (this.#nextStream > LAST_STREAM_ID) this.#retire();
    if (this.#calls.size === 0) this.#socket.ref();
    return stream;
  }

  #send(call: ClientCall, { prefix, terms, payload }: NewCall, flags: number): void {
    const { deadlineAt, signal, metadata } = terms;
    this.#calls.set(call.stream, call);
    const timeoutMs = deadlineAt === undefined ? undefined : deadlineAt - performance.now();
    writeRequest(this.#writer, {
      stream: call.stream,
      flags,
      prefix,
      metadata,
      timeoutMs,
      payload: payload ?? NOTHING,
    });
    if (deadlineAt !== undefined) this.#sweep.watch(deadlineAt);
    if (signal !== undefined) this.#follow(call, signal);
  }

  #follow(call: ClientCall, signal: AbortSignal): void {
    const stop = () => this.#giveUp(call, HmsError.from(signal.reason));
    if (signal.aborted) {
      stop();
      return;
    }
    signal.addEventListener("abort", stop, { once: true });
    call.settled = () => signal.removeEventListener("abort", stop);
  }

  /** Ends a call from this side and tells the server. */
  #giveUp(call: ClientCall, error: HmsError): void {
    if (!this.#forget(call)) return;
    call.fail(error);
    this.#cancel(call.stream);
  }

  #forget(call: ClientCall): boolean {
    if (!this.#calls.delete(call.stream)) return false;
    call.settled?.();
    if (this.#calls.size === 0) this.#idle();
    return true;
  }

  #idle(): void {
    this.#socket.unref();
    if (!this.#usable) this.#writer.end();
  }

  #cancel(stream: number): void {
    if (this.#peer === undefined) this.#cancelLater.push(stream);
    else if (this.#has(Feature.CANCEL)) writeCancel(this.#writer, stream);
  }

  #has(feature: number): boolean {
    return this.#peer != null && (this.#peer.features & feature) !== 0;
  }

  /** Sends one more message of a stream, when the peer wants it. */
  async sendMessage(call: StreamCall, payload: Uint8Array): Promise<void> {
    while (!call.finished) {
      const wait = call.credit.ready() ?? this.#writer.drained();
      if (wait === undefined) break;
      await wait;
    }
    if (call.finished) return;
    call.credit.spend(HEADER_BYTES + payload.length);
    writeData(this.#writer, call.stream, payload);
  }

  /** Says that no more messages follow. */
  sendEnd(call: StreamCall): void {
    if (!call.finished) writeEnd(this.#writer, call.stream);
  }

  /** Ends a stream with an error of this side. */
  breakOff(call: StreamCall, error: HmsError): void {
    this.#giveUp(call, error);
  }

  /** Takes leave of a stream: a running one is cancelled. */
  leave(call: StreamCall): void {
    if (this.#forget(call)) {
      call.end();
      this.#cancel(call.stream);
    }
    call.inbound.drop();
  }

  #grant(stream: number, bytes: number): void {
    if (this.#has(Feature.WINDOW) && this.#calls.has(stream)) writeWindow(this.#writer, stream, bytes);
  }

  #pause(pause: boolean): void {
    this.#pauses += pause ? 1 : -1;
    if (this.#pauses > 0) this.#socket.pause();
    else this.#socket.resume();
  }

  frame(frame: Frame): void {
    if (frame.type === FrameType.HELLO) {
      this.#hello(frame);
      return;
    }
    if (this.#peer === undefined) this.#meet(null);
    const call = this.#calls.get(frame.stream);
    switch (frame.type) {
      case FrameType.RESPONSE:
        if (call !== undefined) this.#response(call, frame);
        break;
      case FrameType.DATA:
        if (call !== undefined) this.#data(call, frame);
        break;
      case FrameType.WINDOW:
        call?.grant(readWindow(frame));
        break;
      case FrameType.PING:
        if ((frame.flags & FrameFlag.PONG) === 0) writePing(this.#writer, frame);
        break;
      case FrameType.GOAWAY:
        this.#goaway(frame);
        break;
      default:
        break;
    }
  }

  oversized(frame: Frame, length: number): void {
    const call = this.#calls.get(frame.stream);
    if (call === undefined) return;
    const error = new HmsError(
      "RESOURCE_EXHAUSTED",
      `The answer has ${length} bytes; a frame carries at most ${MAX_DATA_BYTES}. Ask for less.`,
    );
    this.#giveUp(call, error);
  }

  garbage(): void {
    this.#reason = new HmsError("UNAVAILABLE", "What answers at the socket does not speak frames.");
    this.#socket.destroy();
  }

  #hello(frame: Frame): void {
    if (this.#peer !== undefined) return;
    try {
      this.#meet(readHello(frame));
    } catch {
      this.garbage();
    }
  }

  #meet(peer: Hello | null): void {
    this.#peer = peer;
    const cancelled = this.#cancelLater;
    this.#cancelLater = [];
    for (const stream of cancelled) this.#cancel(stream);
    if (!this.#has(Feature.WINDOW)) return;
    for (const call of this.#calls.values()) if (call instanceof StreamCall) call.credit.limit(peer?.streamWindow ?? 0);
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
    const refused = new HmsError("UNAVAILABLE", error?.message ?? "The server is stopping; try again.", {
      reason: "NOT_SENT",
    });
    for (const call of [...this.#calls.values()]) {
      if (call.stream > lastStream && this.#forget(call)) call.fail(refused);
    }
    if (this.#calls.size === 0) this.#idle();
  }

  /** Takes no new calls; the connection ends with its last one. */
  #retire(): void {
    if (!this.#usable) return;
    this.#usable = false;
    this.#onUnusable();
  }

  /** Ends the connection and every call on it with an error. */
  close(error: HmsError): void {
    this.#reason = error;
    this.#retire();
    for (const call of [...this.#calls.values()]) this.#giveUp(call, error);
    this.#writer.end();
    this.#socket.destroySoon();
  }

  #ended(): void {
    this.#retire();
    this.#sweep.stop();
    this.#reader.stop();
    this.#writer.close();
    const error =
      this.#reason ??
      new HmsError("UNAVAILABLE", "The connection to the server broke; whether the call took effect is unknown.", {
        reason: "CONNECTION_LOST",
      });
    for (const call of [...this.#calls.values()]) if (this.#forget(call)) call.fail(error);
  }
}

const NOTHING = new Uint8Array(0);
