import { admit, beginTrace, type Handler } from "./admission.ts";
import type { CallContext } from "./call-context.ts";
import { type CallEnd, finishCall, rejectWhenKept, whenKept } from "./call-outcome.ts";
import { type Arrival, callOf, decide, judge, principalOf } from "./caller-judgement.ts";
import { guardDeadline, guardStream } from "./deadline.ts";
import { HmsError } from "./hms-error.ts";
import type { CallTrace } from "./ports.ts";
import type { Principal } from "./principal.ts";
import { wholeMessage } from "./whole-message.ts";

/** The running streams of principals whose session can end before the stream does. */
export class RunningStreams {
  readonly #contexts = new Set<CallContext>();

  /** Notes a stream; what is returned forgets it. */
  note(context: CallContext): () => void {
    if (context.principal.endsAtMs === undefined) return () => {};
    this.#contexts.add(context);
    return () => this.#contexts.delete(context);
  }

  /** Ends those of a principal. */
  endOf(kind: Principal["kind"], id: string): void {
    const message = "What you may do here has changed. Call again; sign in again if that is refused.";
    const error = new HmsError("UNAUTHENTICATED", message, { reason: "ACCESS_CHANGED" });
    for (const context of this.#contexts) {
      if (context.principal.kind === kind && context.principal.id === id) context.end(error);
    }
  }
}

/** Answers a streaming call of any kind; leaving the iteration cancels it, and only HmsError comes out of it. */
export async function* answerStream(
  begun: Omit<Arrival, "started">,
  inputs: AsyncIterable<unknown>,
  running: RunningStreams,
): AsyncGenerator<unknown> {
  const arrival = { ...begun, started: performance.now() };
  const { call, entry } = arrival;
  const principal = await principalOf(arrival);
  const single = entry.desc.methodKind === "server_streaming" ? await firstOf(inputs) : undefined;
  const end = callOf(arrival, principal, single);
  const decision = await decide(end, call.caller);
  const { context } = end;
  call.attach?.(context);
  const refusal = judge(end, decision);
  if (refusal !== undefined) return rejectWhenKept(end, refusal);
  let failure: HmsError | undefined = new HmsError("CANCELLED", "The caller left the stream.");
  const forget = running.note(context);
  try {
    admit(end);
    const messages = messagesOf(end, single ?? validEach(end, inputs));
    for await (const message of messages) yield wholeMessage(entry.desc.output, message);
    failure = undefined;
  } catch (error) {
    failure = HmsError.from(error);
    throw failure;
  } finally {
    forget();
    if (failure) context.end(failure);
    finishCall(end, failure);
    await whenKept(end);
  }
}

function messagesOf(end: CallEnd, input: unknown): AsyncIterable<unknown> {
  const { context } = end;
  const { desc, handler } = context.method;
  const trace = beginTrace(end);
  const handle = () => (handler as Handler)(input, context);
  const output = trace === undefined ? handle() : trace.run(handle);
  if (desc.methodKind === "client_streaming") return only(guardDeadline(context, Promise.resolve(output)));
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
