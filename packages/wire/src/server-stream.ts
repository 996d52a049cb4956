import { HmsError, type Kernel } from "@hms/kernel";
import { writeData, writeEnd } from "./control-frames.ts";
import { HEADER_BYTES } from "./frame.ts";
import type { FrameWriter } from "./frame-writer.ts";
import type { InboundMessages } from "./inbound-messages.ts";
import { decodeRequest, encodeAnswer } from "./message-codec.ts";
import { writeAnswer, writeFailure } from "./response-envelope.ts";
import type { ServerCall } from "./server-call.ts";

/** Runs a streaming call to its end and writes what it answers; never rejects. */
export async function runStream(kernel: Kernel, writer: FrameWriter, call: ServerCall): Promise<void> {
  try {
    const answers = kernel.stream(call.entry, requests(call), call);
    if (call.entry.desc.methodKind === "client_streaming") await answerOnce(writer, call, answers);
    else await answerEach(writer, call, answers);
  } catch (error) {
    if (!call.finished) writeFailure(writer, call.stream, HmsError.from(error));
  }
  call.finished = true;
  call.inbound?.drop();
}

async function* requests(call: ServerCall): AsyncGenerator<unknown> {
  const inbound = call.inbound as InboundMessages;
  for (;;) {
    const message = await inbound.take();
    if (message === undefined) return;
    yield decodeRequest(call.entry.desc, message);
  }
}

async function answerOnce(writer: FrameWriter, call: ServerCall, answers: AsyncIterable<unknown>): Promise<void> {
  for await (const answer of answers) {
    const payload = encodeAnswer(call.entry.desc, answer);
    if (!call.finished) writeAnswer(writer, call.stream, payload);
    call.finished = true;
  }
}

async function answerEach(writer: FrameWriter, call: ServerCall, answers: AsyncIterable<unknown>): Promise<void> {
  for await (const answer of answers) {
    const payload = encodeAnswer(call.entry.desc, answer);
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
