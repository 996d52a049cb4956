import { admit, beginTrace, type Handler } from "./admission.ts";
import { type CallEnd, finishCall, rejectWhenKept, whenKept } from "./call-outcome.ts";
import { type Arrival, callOf, decide, judge, principalOf } from "./caller-judgement.ts";
import { guardAnswer, guardStream } from "./deadline.ts";
import { HmsError } from "./hms-error.ts";
import type { CallTrace } from "./ports.ts";
import type { RunningStreams } from "./running-streams.ts";
import { wholeMessage } from "./whole-message.ts";

/** Answers a streaming call of any kind; leaving the iteration cancels it, and only HmsError comes out of it. */
export async function* answerStream(
  begun: Omit<Arrival, "started">,
  inputs: AsyncIterable<unknown>,
  running: RunningStreams,
): AsyncGenerator<unknown> {
  const arrival = { ...begun, started: performance.now() };
  const { call, entry } = arrival;
  const stream = running.begin();
  try {
    const principal = await principalOf(arrival);
    const single = entry.desc.methodKind === "server_streaming" ? await firstOf(inputs) : undefined;
    const end = callOf(arrival, principal, single);
    const decision = await decide(end, call.caller);
    const { context } = end;
    call.attach?.(context);
    const refusal = judge(end, decision);
    if (refusal !== undefined) return rejectWhenKept(end, refusal);
    let failure: HmsError | undefined = new HmsError("CANCELLED", "The caller left the stream.");
    try {
      stream.isOf(context);
      context.throwIfEnded();
      admit(end);
      const messages = messagesOf(end, single ?? validEach(end, inputs));
      for await (const message of messages) yield wholeMessage(entry.desc.output, message);
      failure = undefined;
    } catch (error) {
      failure = HmsError.from(error);
      throw failure;
    } finally {
      if (failure) context.end(failure);
      finishCall(end, failure);
      await whenKept(end);
    }
  } finally {
    stream.forget();
  }
}

function messagesOf(end: CallEnd, input: unknown): AsyncIterable<unknown> {
  const { context } = end;
  const { desc, handler } = context.method;
  const trace = beginTrace(end);
  const handle = () => (handler as Handler)(input, context);
  const output = trace === undefined ? handle() : trace.run(handle);
  if (desc.methodKind === "client_streaming") return only(guardAnswer(context, Promise.resolve(output)));
  return guardStream(context, within(trace, output as AsyncIterable<unknown>));
}

async function* only(answer: Promise<unknown>): AsyncGenerator<unknown> {
  yield await answer;
}

async function* validEach({ options, context }: CallEnd, inputs: AsyncIterable<unknown>): AsyncGenerator<unknown> {
  for await (const input of inputs) {
    options.validator?.validate(context.method, input);
    yield input;
  }
}

/** A handler's messages, each of them made with its span as the current one. */
function within<T>(trace: CallTrace | undefined, messages: AsyncIterable<T>): AsyncIterable<T> {
  if (trace === undefined) return messages;
  return {
    [Symbol.asyncIterator]() {
      const inner = messages[Symbol.asyncIterator]();
      return {
        next: () => trace.run(() => inner.next()),
        return: async () => (await inner.return?.()) ?? { done: true, value: undefined },
      };
    },
  };
}

async function firstOf(inputs: AsyncIterable<unknown>): Promise<unknown> {
  for await (const input of inputs) return input;
  throw new HmsError("INVALID_ARGUMENT", "The call ended before its request arrived.");
}
