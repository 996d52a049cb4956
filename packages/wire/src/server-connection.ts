import type { Socket } from "node:net";
import type { DescMethod } from "@bufbuild/protobuf";
import { HmsError, type Kernel, type Metadata, type MethodEntry } from "@hms/kernel";
import { CallerReader, type PeerCredentials } from "./caller-facts.ts";
import { readWindow, writeGoaway, writeHeaders, writePing, writeWindow } from "./control-frames.ts";
import { MalformedError } from "./field-reader.ts";
import { FrameFlag, FrameType, MAX_DATA_BYTES } from "./frame.ts";
import { FramePort, type PortOwner } from "./frame-port.ts";
import type { Frame } from "./frame-reader.ts";
import { Feature, ourHello, readHello, writeHello } from "./hello.ts";
import { InboundMessages } from "./inbound-messages.ts";
import { codecOf } from "./message-codec.ts";
import type { MethodLookup } from "./method-lookup.ts";
import { PeerFeatures } from "./peer-features.ts";
import { RequestEnvelope } from "./request-envelope.ts";
import { readStatus, writeAnswer, writeFailure } from "./response-envelope.ts";
import { SendCredit } from "./send-credit.ts";
import { ServerCall } from "./server-call.ts";
import { runStream } from "./server-stream.ts";

/** Answers that wait for a peer that does not read: above this, nothing more is read from it either. */
const MAX_BACKLOG_BYTES = 4 * MAX_DATA_BYTES;

/** What all connections of a server share. */
export interface ServerShare {
  readonly kernel: Kernel;
  readonly methods: MethodLookup;
  /** Calls one connection may have running. */
  readonly maxStreams: number;
}

/** Metadata that says where the service lives that is called. */
const ENVIRONMENT = "x-hms-environment";

/** What a Request brings. */
interface FirstMessage {
  readonly payload: Uint8Array;
  /** True if more follows as Data. */
  readonly open: boolean;
}

/** A method that the kernel is asking others about. */
interface SoughtMethod {
  readonly entry: Promise<MethodEntry | undefined>;
  readonly name: string;
}

/** One peer of a socket server: reads its requests, runs them through the kernel, writes the answers. */
export class ServerConnection implements PortOwner {
  readonly #port: FramePort;
  readonly #share: ServerShare;
  readonly #envelope = new RequestEnvelope();
  readonly #callers: CallerReader;
  readonly #calls = new Map<number, ServerCall>();
  readonly #peer = new PeerFeatures();
  #lastStream = 0;
  /** One for all calls. */
  readonly #sendHeaders = (stream: number, metadata: Metadata) => {
    if (this.#peer.has(Feature.HEADERS)) writeHeaders(this.#port.writer, stream, metadata);
  };
  #waiting = false;
  #draining: HmsError | undefined;

  constructor(socket: Socket, share: ServerShare, peer: PeerCredentials) {
    this.#share = share;
    this.#callers = new CallerReader(peer);
    this.#port = new FramePort(socket, this);
  }

  /** Reads what was taken from the socket before this connection was made. */
  take(chunk: Buffer): void {
    this.#port.take(chunk);
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
        this.#calls.get(frame.stream)?.abandon(reasonOf(frame));
        break;
      case FrameType.WINDOW:
        this.#calls.get(frame.stream)?.credit?.add(readWindow(frame));
        break;
      case FrameType.PING:
        if ((frame.flags & FrameFlag.PONG) === 0) writePing(this.#port.writer, frame);
        break;
      default:
        // Types of later versions are skipped, as stock peers do.
        break;
    }
    if (!this.#waiting && this.#port.writer.backlog > MAX_BACKLOG_BYTES) void this.#waitForReader();
  }

  async #waitForReader(): Promise<void> {
    this.#waiting = true;
    this.#port.pause(true);
    await this.#port.writer.drained();
    this.#waiting = false;
    this.#port.pause(false);
  }

  oversized(frame: Frame, length: number): void {
    const error = new HmsError(
      "RESOURCE_EXHAUSTED",
      `The frame has ${length} bytes of data; at most ${MAX_DATA_BYTES} can travel. Send less, or in parts.`,
      { reason: "MESSAGE_TOO_LARGE" },
    );
    if (frame.type === FrameType.REQUEST && this.#opens(frame.stream)) this.#fail(frame.stream, error);
    if (frame.type === FrameType.DATA) this.#failCall(frame.stream, error);
  }

  garbage(): void {
    this.#break("What arrived is not a frame: its length is beyond any limit.");
  }

  #hello(frame: Frame): void {
    if (this.#peer.known) return;
    try {
      this.#peer.meet(readHello(frame));
    } catch {
      this.#break("The HELLO is malformed.");
      return;
    }
    writeHello(this.#port.writer, frame.stream, ourHello(this.#share.maxStreams));
  }

  #fail(stream: number, error: HmsError): void {
    writeFailure(this.#port.writer, stream, error);
  }

  /** Checks and notes the id of a new stream; a wrong one is answered as ttrpc does. */
  #opens(stream: number): boolean {
    if (stream % 2 === 1 && stream > this.#lastStream) {
      this.#lastStream = stream;
      return true;
    }
    const why =
      stream % 2 === 1 ? "Stream ids must increase and are never used again" : "Stream ids of clients must be odd";
    this.#fail(stream, new HmsError("INVALID_ARGUMENT", `${why} (${stream}).`));
    return false;
  }

  #request(frame: Frame): void {
    if (!this.#opens(frame.stream)) return;
    try {
      this.#admit();
      this.#envelope.read(frame);
      this.#start(frame);
    } catch (error) {
      this.#calls.delete(frame.stream);
      this.#fail(frame.stream, error instanceof MalformedError ? malformed(error) : HmsError.from(error));
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
    const { methods } = this.#share;
    const facts = this.#callers.read(envelope);
    const { timeoutMs } = envelope;
    const codec = codecOf(envelope.codec);
    const call = new ServerCall(frame.stream, facts, { timeoutMs, codec, sendHeaders: this.#sendHeaders });
    const first = {
      payload: frame.bytes.subarray(envelope.payloadFrom, envelope.payloadTo),
      open: (frame.flags & FrameFlag.REMOTE_OPEN) !== 0,
    };
    const entry = methods.own(envelope) ?? methods.elsewhere(envelope, facts.metadata?.[ENVIRONMENT] ?? "default");
    if (entry === undefined) throw notServed(methods.nameOf(envelope));
    if (entry instanceof Promise) void this.#runLater(call, first, { entry, name: methods.nameOf(envelope) });
    else this.#run(call, first, entry);
  }

  /** Runs a call once it is known who answers it; what its caller sends until then is kept. */
  async #runLater(call: ServerCall, first: FirstMessage, sought: SoughtMethod): Promise<void> {
    this.#calls.set(call.stream, call);
    if (first.open) this.#listen(call, first, false);
    try {
      const entry = await sought.entry;
      if (entry === undefined) throw notServed(sought.name);
      if (call.finished) this.#over(call);
      else this.#run(call, first, entry);
    } catch (error) {
      this.#refuse(call, error);
      call.inbound?.drop();
    }
  }

  #run(call: ServerCall, first: FirstMessage, entry: MethodEntry): void {
    if (entry.desc.methodKind !== "unary") {
      this.#runStream(call, first, entry);
      return;
    }
    call.inbound?.drop();
    const input = call.codec.decodeRequest(entry.desc, first.payload);
    this.#calls.set(call.stream, call);
    this.#share.kernel.unary(entry, input, call).then(
      (output) => this.#answer(call, entry.desc, output),
      (error) => this.#refuse(call, error),
    );
  }

  #answer(call: ServerCall, method: DescMethod, output: unknown): void {
    if (call.finished) {
      this.#over(call);
      return;
    }
    try {
      writeAnswer(this.#port.writer, call.stream, call.codec.encodeAnswer(method, output));
      this.#over(call);
    } catch (error) {
      this.#refuse(call, error);
    }
  }

  #refuse(call: ServerCall, error: unknown): void {
    if (!call.finished) this.#fail(call.stream, HmsError.from(error));
    this.#over(call);
  }

  #over(call: ServerCall): void {
    call.finished = true;
    this.#calls.delete(call.stream);
    this.#endIfDrained();
  }

  #listen(call: ServerCall, { payload, open }: FirstMessage, single: boolean): void {
    const inbound = new InboundMessages({
      taken: (bytes) => {
        if (this.#peer.has(Feature.WINDOW) && !call.finished) writeWindow(this.#port.writer, call.stream, bytes);
      },
      overfull: (full) => this.#port.pause(full),
    });
    call.inbound = inbound;
    // An empty message takes no bytes, so only a method that must have one can tell it from none.
    if (single || payload.length > 0) inbound.push(payload);
    if (!open) inbound.end();
  }

  #runStream(call: ServerCall, first: FirstMessage, entry: MethodEntry): void {
    const single = entry.desc.methodKind === "server_streaming" && !first.open;
    if (call.inbound === undefined) this.#listen(call, first, single);
    call.credit = new SendCredit(this.#peer.streamWindow);
    // A watch never ends by itself, and whoever watches has to come back anyway.
    call.endless = !entry.mutates;
    this.#calls.set(call.stream, call);
    const { kernel } = this.#share;
    void runStream({ kernel, writer: this.#port.writer, entry }, call).then(() => this.#over(call));
  }

  #data(frame: Frame): void {
    const inbound = this.#calls.get(frame.stream)?.inbound;
    if (inbound === undefined) {
      // A stream that has ended here may still have messages on the way; one that never was is the peer's mistake.
      if (frame.stream > this.#lastStream || frame.stream % 2 === 0) {
        this.#fail(frame.stream, new HmsError("INVALID_ARGUMENT", `Stream ${frame.stream} is not open.`));
      }
      return;
    }
    if ((frame.flags & FrameFlag.NO_DATA) === 0) inbound.push(frame.bytes.subarray(frame.start, frame.end));
    if ((frame.flags & FrameFlag.REMOTE_CLOSED) !== 0) inbound.end();
  }

  #failCall(stream: number, error: HmsError): void {
    const call = this.#calls.get(stream);
    if (call === undefined || call.finished) return;
    this.#fail(stream, error);
    call.abandon(error);
  }

  /** Refuses new calls, ends reading streams, lets the others finish, then says goodbye. */
  drain(error: HmsError): void {
    if (this.#draining) return;
    this.#draining = error;
    if (this.#peer.has(Feature.GOAWAY)) writeGoaway(this.#port.writer, this.#lastStream, error);
    for (const call of this.#calls.values()) if (call.endless) call.stop(error);
    this.#endIfDrained();
  }

  #endIfDrained(): void {
    if (this.#draining && this.#calls.size === 0) this.#port.end();
  }

  /** Ends every call with an error and the connection after it. */
  abort(error: HmsError): void {
    for (const call of this.#calls.values()) this.#failCall(call.stream, error);
    this.#port.finish();
  }

  #break(why: string): void {
    const error = new HmsError("INVALID_ARGUMENT", why);
    if (this.#peer.has(Feature.GOAWAY)) writeGoaway(this.#port.writer, this.#lastStream, error);
    this.abort(error);
  }

  /** Drops the connection at once. */
  destroy(): void {
    this.#port.destroy();
  }

  ended(): void {
    const error = new HmsError("CANCELLED", "The caller's connection has ended.");
    for (const call of this.#calls.values()) call.abandon(error);
  }
}

function notServed(name: string): HmsError {
  return new HmsError("UNIMPLEMENTED", `${name} is not served here.`);
}

function malformed(cause: MalformedError): HmsError {
  return new HmsError("INVALID_ARGUMENT", `The request cannot be read: ${cause.message}.`, { cause });
}

function reasonOf(frame: Frame): HmsError {
  let error: HmsError | undefined;
  try {
    error = readStatus(frame.bytes.subarray(frame.start, frame.end));
  } catch {
    // The reason is for people only; the wish to cancel is clear without it.
  }
  return error ?? new HmsError("CANCELLED", "The caller cancelled the call.");
}
