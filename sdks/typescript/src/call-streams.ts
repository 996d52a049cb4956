import type { KnownMethod } from "@hms/direct-calls";
import { HmsError } from "@hms/kernel";
import { sentValue } from "./message-value.ts";

/** The requests of a streaming call as messages. @throws HmsError INVALID_ARGUMENT if there is no stream of them */
export async function* messagesOf({ desc, types }: KnownMethod, request: unknown): AsyncGenerator<object> {
  if (desc.methodKind === "server_streaming") {
    yield sentValue(desc.input, request, types);
    return;
  }
  if (
    typeof request !== "object" ||
    request === null ||
    !(Symbol.asyncIterator in request || Symbol.iterator in request)
  ) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `${desc.name} takes a stream: give an AsyncIterable (or an array) of objects.`,
    );
  }
  for await (const item of request as AsyncIterable<unknown>) yield sentValue(desc.input, item, types);
}

/** Each answer as a value of the language. */
export async function* mapped(
  answers: AsyncIterable<unknown>,
  read: (answer: unknown) => unknown,
): AsyncGenerator<unknown> {
  for await (const answer of answers) yield read(answer);
}

/** The one answer to a stream of requests. @throws HmsError INTERNAL if there is none */
export async function onlyAnswer(
  answers: AsyncIterable<unknown>,
  read: (answer: unknown) => unknown,
): Promise<unknown> {
  for await (const answer of answers) return read(answer);
  throw new HmsError("INTERNAL", "The callee ended the call without an answer.");
}
