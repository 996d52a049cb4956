import type { DescMethod } from "@bufbuild/protobuf";
import { HmsError, type Kernel, type MethodEntry } from "@hms/kernel";
import { writeData, writeEnd } from "./control-frames.ts";
import { HEADER_BYTES } from "./frame.ts";
import type { FrameWriter } from "./frame-writer.ts";
import type { InboundMessages } from "./inbound-messages.ts";
import { writeAnswer, writeFailure } from "./response-envelope.ts";
import type { ServerCall } from "./server-call.ts";

/** What a stream runs with. */
export interface StreamGround {
  readonly kernel: Kernel;
  readonly writer: FrameWriter;
  readonly entry: MethodEntry;
}

/** Runs a streaming call to its end and writes what it answers; never rejects. */
export async function runStream({ kernel, writer, entry }: StreamGround, call: ServerCall): Promise<void> {
  const answering = { call, writer, method: entry.desc };
  try {
    const answers = kernel.stream(entry, requests(answering), call);
    if (entry.desc.methodKind === "client_streaming") await answerOnce(answering, answers);
    else await answerEach(answering, answers);
  } catch (error) {
    if (!call.finished) writeFailure(writer, call.stream, HmsError.from(error));
  }
  call.finished = true;
  call.inbound?.drop();
}

interface Answering {
  call: ServerCall;
  writer: FrameWriter;
  method: DescMethod;
}

async function* requests({ call, method }: Answering): AsyncGenerator<unknown> {
  const inbound = call.inbound as InboundMessages;
  for (;;) {
    const message = await inbound.take();
    if (message === undefined) return;
    yield call.codec.decodeRequest(method, message);
  }
}

async function answerOnce({ call, writer, method }: Answering, answers: AsyncIterable<unknown>): Promise<void> {
  for await (const answer of answers) {
    const payload = call.codec.encodeAnswer(method, answer);
    if (!call.finished) writeAnswer(writer, call.stream, payload);
    call.finished = true;
  }
}

async function answerEach({ call, writer, method }: Answering, answers: AsyncIterable<unknown>): Promise<void> {
  for await (const answer of answers) {
    const payload = call.codec.encodeAnswer(method, answer);
    await turn(writer, call);
    if (call.finished) return;
    call.credit?.spend(HEADER_BYTES + payload.length);
    writeData(writer, call.stream, payload);
  }
  if (!call.finished) writeEnd(writer, call.stream);
}

/** Waits until the peer wants more of this stream and has taken what the connection holds, or the call is stopped. */
async function turn(writer: FrameWriter, call: ServerCall): Promise<void> {
  while (!call.finished && !call.stopped) {
    const wait = call.credit?.ready() ?? writer.drained();
    if (wait === undefined) return;
    await wait;
  }
}
