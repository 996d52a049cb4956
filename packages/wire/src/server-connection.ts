import type { Socket } from "node:net";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { HmsError, type Kernel, type MethodEntry } from "@hms/kernel";
import { CallerReader } from "./caller-facts.ts";
import { readWindow, writeData, writeEnd, writeGoaway, writePing, writeWindow } from "./control-frames.ts";
import { FrameFlag, FrameType, HEADER_BYTES, MAX_DATA_BYTES } from "./frame.ts";
import { type Frame, FrameReader, type FrameSink } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { Feature, type Hello, ourHello, readHello, STREAM_WINDOW_BYTES, writeHello } from "./hello.ts";
import { InboundMessages } from "./inbound-messages.ts";
import type { MethodLookup } from "./method-lookup.ts";
import { RequestEnvelope } from "./request-envelope.ts";
import { readStatus, writeAnswer, writeFailure } from "./response-envelope.ts";
import { SendCredit } from "./send-credit.ts";
import { ServerCall } from "./server-call.ts";

/** Answers that wait for a peer that does not read: above this, nothing more is read from it either. */
const MAX_BACKLOG_BYTES = 4 * MAX_DATA_BYTES;

const NOT_FRAMES = "This socket speaks HMS-SYS frames (ttrpc 1.2), not HTTP: use hms-sys or an SDK.\n";

/** What all connections of a server share. */
export interface ServerShare {
  readonly kernel: Kernel;
  readonly methods: MethodLookup;
  /** Calls one connection may have running. */
  readonly maxStreams: number;
}

/** One peer of a socket server: reads its requests, runs them through the kernel, writes the answers. */
export class ServerConnection implements FrameSink {
  readonly #socket: Socket;
  readonly #share: ServerShare;
  readonly #writer: FrameWriter;
  readonly #reader = new FrameReader(this);
  readonly #envelope = new RequestEnvelope();
  readonly #callers = new CallerReader();
  readonly #calls = new Map<number, ServerCall>();
  #peer: Hello | undefined;
  #lastStream = 0;
  #pauses = 0;
  #started = false;
  #closed = false;
  #draining: HmsError | undefined;

  constructor(socket: Socket, share: ServerShare) {
    this.#socket = socket;
    this.#share = share;
    this.#writer = new FrameWriter(socket);
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    // A peer that has said goodbye reads no answers: its calls end.
    socket.on("end", () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#ended());
  }

  /** Calls that have not ended. */
  get running(): number {
    return this.#calls.size;
  }

  #read(chunk: Buffer): void {
    if (!this.#started) {
      this.#started = true;
      if (chunk[0] !== 0) {
        this.#reader.stop();
        this.#socket.end(NOT_FRAMES);
        return;
      }
    }
    this.#reader.push(chunk);
    if (this.#writer.backlog > MAX_BACKLOG_BYTES) void this.#waitForReader();
  }

  async #waitForReader(): Promise<void> {
    this.#pause(true);
    await this.#writer.drained();
    this.#pause(false);
  }

  #pause(pause: boolean): void {
    this.#pauses += pause ? 1 : -1;
    if (this.#pauses > 0) this.#socket.pause();
    else this.#socket.resume();
  }

  frame(frame: Frame): void {
    switch (frame.type) {
      case FrameType.REQUEST:
        this.#request(frame);
        break;
      case FrameType.DATA:
        this.#data(frame);
        break;
      case FrameType.HELLO:
        this.#hello(frame);
        break;
      case FrameType.CANCEL:
        this.#cancel(frame);
        break;
      case FrameType.WINDOW:
        this.#calls.get(frame.stream)?.credit?.add(readWindow(frame));
        break;
      case FrameType.PING:
        if ((frame.flags & FrameFlag.PONG) === 0) writePing(this.#writer, frame);
        break;
      default:
        // Types of later versions are skipped, as stock peers do.
        break;
    }
  }

  oversized(frame: Frame, length: number): void {
    const error = new HmsError(
      "RESOURCE_EXHAUSTED",
      `The message has ${length} bytes; a frame carries at most ${MAX_DATA_BYTES}. Send less, or in parts.`,
    );
    if (frame.type === FrameType.REQUEST && this.#opens(frame.stream)) writeFailure(this.#writer, frame.stream, error);
    if (frame.type === FrameType.DATA) this.#failCall(frame.stream, error);
  }

  garbage(): void {
    this.#fail(new HmsError("INVALID_ARGUMENT", "What arrived is not a frame: its length is beyond any limit."));
  }

  #hello(frame: Frame): void {
    if (this.#peer !== undefined) return;
    try {
      this.#peer = readHello(frame);
    } catch {
      this.#fail(new HmsError("INVALID_ARGUMENT", "The HELLO is malformed."));
      return;
    }
    writeHello(this.#writer, frame.stream, ourHello(this.#share.maxStreams));
  }

  #has(feature: number): boolean {
    return this.#peer !== undefined && (this.#peer.features & feature) !== 0;
  }

  /** Checks and notes the id of a new stream; a wrong one is answered as ttrpc does. */
  #opens(stream: number): boolean {
    if (stream % 2 === 1 && stream > this.#lastStream) {
      this.#lastStream = stream;
      return true;
    }
    const why =
      stream % 2 === 1 ? "Stream ids must increase and are never used again" : "Stream ids of clients must be odd";
    writeFailure(this.#writer, stream, new HmsError("INVALID_ARGUMENT", `${why} (${stream}).`));
    return false;
  }

  #request(frame: Frame): void {
    if (!this.#opens(frame.stream)) return;
    try {
      this.#admit();
      this.#envelope.read(frame);
      this.#start(frame);
    } catch (error) {
      const known = error instanceof HmsError ? error : malformed("request", error);
      writeFailure(this.#writer, frame.stream, known);
    }
    this.#envelope.release();
  }

  #admit(): void {
    if (this.#draining) throw this.#draining;
    if (this.#calls.size >= this.#share.maxStreams) {
      throw new HmsError(
        "RESOURCE_EXHAUSTED",
        `This connection has ${this.#calls.size} calls running, the most it may have. Wait for one to end.`,
        { reason: "TOO_MANY_STREAMS" },
      );
    }
  }

  #start(frame: Frame): void {
    const envelope = this.#envelope;
    const entry = this.#share.methods.find(envelope);
    if (entry === undefined) {
      throw new HmsError("UNIMPLEMENTED", `${this.#share.methods.nameOf(envelope)} is not served here.`);
    }
    const { caller, metadata } = this.#callers.read(envelope);
    const call = new ServerCall(frame.stream, entry, { caller, metadata, timeoutMs: envelope.timeoutMs });
    const payload = frame.bytes.subarray(envelope.payloadFrom, envelope.payloadTo);
    if (entry.desc.methodKind === "unary") {
      const input = decode(entry, payload);
      this.#calls.set(call.stream, call);
      this.#share.kernel.unary(entry, input, call).then(
        (output) => this.#answer(call, output),
        (error) => this.#failed(call, error),
      );
      return;
    }
    this.#calls.set(call.stream, call);
    call.credit = new SendCredit();
    if (this.#has(Feature.WINDOW)) call.credit.limit(this.#peer?.streamWindow ?? STREAM_WINDOW_BYTES);
    const open = (frame.flags & FrameFlag.REMOTE_OPEN) !== 0;
    void this.#runStream(call, this.#inputs(call, { payload, open }));
  }

  #answer(call: ServerCall, output: unknown): void {
    this.#calls.delete(call.stream);
    if (!call.finished) {
      try {
        writeAnswer(this.#writer, call.stream, encode(call.entry, output));
      } catch (error) {
        writeFailure(this.#writer, call.stream, HmsError.from(error));
      }
    }
    this.#endIfDrained();
  }

  #failed(call: ServerCall, error: unknown): void {
    this.#calls.delete(call.stream);
    if (!call.finished) writeFailure(this.#writer, call.stream, HmsError.from(error));
    call.finished = true;
    this.#endIfDrained();
  }

  #inputs(call: ServerCall, first: { payload: Uint8Array; open: boolean }): AsyncIterable<unknown> {
    const inbound = new InboundMessages({
      taken: (bytes) => this.#grant(call, bytes),
      overfull: (full) => this.#pause(full),
    });
    call.inbound = inbound;
    // An empty message takes no bytes, so only a method that must have one can tell it from none.
    const single = call.entry.desc.methodKind === "server_streaming" && !first.open;
    if (single || first.payload.length > 0) inbound.push(first.payload);
    if (!first.open) inbound.end();
    return decodeEach(call.entry, inbound);
  }

  #grant(call: ServerCall, bytes: number): void {
    if (this.#has(Feature.WINDOW) && !call.finished) writeWindow(this.#writer, call.stream, bytes);
  }

  async #runStream(call: ServerCall, inputs: AsyncIterable<unknown>): Promise<void> {
    const { entry } = call;
    const answersOnce = entry.desc.methodKind === "client_streaming";
    try {
      for await (const message of this.#share.kernel.stream(entry, inputs, call)) {
        const payload = encode(entry, message);
        if (answersOnce) {
          if (!call.finished) writeAnswer(this.#writer, call.stream, payload);
          call.finished = true;
          continue;
        }
        await this.#turn(call);
        if (call.finished) break;
        call.credit?.spend(HEADER_BYTES + payload.length);
        writeData(this.#writer, call.stream, payload);
      }
      this.#calls.delete(call.stream);
      if (!call.finished) writeEnd(this.#writer, call.stream);
      call.abandon(new HmsError("CANCELLED", "The call has ended."));
      this.#endIfDrained();
    } catch (error) {
      this.#failed(call, error);
      call.inbound?.drop();
    }
  }

  /** Waits until the peer wants more of this stream and has taken what the connection holds. */
  async #turn(call: ServerCall): Promise<void> {
    while (!call.finished && !call.stopped) {
      const wait = call.credit?.ready() ?? this.#writer.drained();
      if (wait === undefined) return;
      await wait;
    }
  }

  #data(frame: Frame): void {
    const inbound = this.#calls.get(frame.stream)?.inbound;
    if (inbound === undefined) {
      // A stream that has ended here may still have messages on the way; one that never was is the peer's mistake.
      if (frame.stream > this.#lastStream || frame.stream % 2 === 0) {
        const error = new HmsError("INVALID_ARGUMENT", `Stream ${frame.stream} is not open.`);
        writeFailure(this.#writer, frame.stream, error);
      }
      return;
    }
    if ((frame.flags & FrameFlag.NO_DATA) === 0) inbound.push(frame.bytes.subarray(frame.start, frame.end));
    if ((frame.flags & FrameFlag.REMOTE_CLOSED) !== 0) inbound.end();
  }

  #cancel(frame: Frame): void {
    const call = this.#calls.get(frame.stream);
    if (call === undefined) return;
    let error: HmsError | undefined;
    try {
      error = readStatus(frame.bytes.subarray(frame.start, frame.end));
    } catch {
      // The reason is for people only; the wish to cancel is clear without it.
    }
    call.abandon(error ?? new HmsError("CANCELLED", "The caller cancelled the call."));
  }

  #failCall(stream: number, error: HmsError): void {
    const call = this.#calls.get(stream);
    if (call === undefined || call.finished) return;
    writeFailure(this.#writer, stream, error);
    call.abandon(error);
  }

  /** Refuses new calls, ends reading streams, lets the others finish, then says goodbye. */
  drain(error: HmsError): void {
    if (this.#closed || this.#draining) return;
    this.#draining = error;
    if (this.#has(Feature.GOAWAY)) writeGoaway(this.#writer, this.#lastStream, error);
    for (const call of this.#calls.values()) {
      // A watch never ends by itself, and whoever watches has to come back anyway.
      if (call.entry.desc.methodKind !== "unary" && !call.entry.mutates) call.stop(error);
    }
    this.#endIfDrained();
  }

  /** Ends every call with an error and the connection after it. */
  abort(error: HmsError): void {
    if (this.#closed) return;
    for (const call of this.#calls.values()) this.#failCall(call.stream, error);
    this.#reader.stop();
    this.#writer.end();
    this.#socket.destroySoon();
  }

  /** Drops the connection at once. */
  destroy(): void {
    this.#socket.destroy();
  }

  #fail(error: HmsError): void {
    if (this.#has(Feature.GOAWAY)) writeGoaway(this.#writer, this.#lastStream, error);
    this.abort(error);
  }

  #endIfDrained(): void {
    if (this.#draining && this.#calls.size === 0) this.#writer.end();
  }

  #ended(): void {
    this.#closed = true;
    this.#reader.stop();
    this.#writer.close();
    const error = new HmsError("CANCELLED", "The caller's connection has ended.");
    for (const call of this.#calls.values()) call.abandon(error);
  }
}

function malformed(what: string, cause: unknown): HmsError {
  const why = cause instanceof Error ? cause.message : "unknown";
  return new HmsError("INVALID_ARGUMENT", `The ${what} cannot be read: ${why}.`, { cause });
}

function decode(entry: MethodEntry, payload: Uint8Array): unknown {
  try {
    return fromBinary(entry.desc.input, payload);
  } catch (error) {
    throw malformed(`${entry.desc.input.typeName} of ${entry.name}`, error);
  }
}

async function* decodeEach(entry: MethodEntry, inbound: InboundMessages): AsyncGenerator<unknown> {
  for (;;) {
    const message = await inbound.take();
    if (message === undefined) return;
    yield decode(entry, message);
  }
}

function encode(entry: MethodEntry, output: unknown): Uint8Array {
  const payload = toBinary(entry.desc.output, output as never);
  // The envelope of a response takes up to five bytes of the frame.
  if (payload.length <= MAX_DATA_BYTES - 8) return payload;
  throw new HmsError(
    "RESOURCE_EXHAUSTED",
    `The answer of ${entry.name} has ${payload.length} bytes; at most ${MAX_DATA_BYTES} can travel in one message. Ask for less.`,
  );
}
