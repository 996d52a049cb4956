import type { DescMethod } from "@bufbuild/protobuf";
import type { CallContext, Metadata } from "./call-context.ts";
import type { CallOptions, Transport } from "./client.ts";
import { HmsError } from "./hms-error.ts";
import type { MethodEntry } from "./method-entry.ts";

/**
 * The handler of a method that is served elsewhere: carries each call on over a transport, with its deadline and
 * cancellation, and with the metadata that `metadataOf` makes of it.
 */
export function forwarding(
  desc: DescMethod,
  transport: Transport,
  metadataOf: (context: CallContext) => Metadata,
): MethodEntry["handler"] {
  const optionsOf = (context: CallContext): CallOptions => ({
    context,
    metadata: metadataOf(context),
    onMetadata: (metadata) => context.sendMetadata(metadata),
  });
  const method = desc as never;
  switch (desc.methodKind) {
    case "unary":
      return async (input, context) => transport.unary(method, input, optionsOf(context));
    case "client_streaming":
      return async (inputs, context) => onlyAnswer(transport.stream(method, inputs, optionsOf(context)));
    case "server_streaming":
      return (input, context) => transport.stream(method, streamOf(input), optionsOf(context));
    case "bidi_streaming":
      return (inputs, context) => transport.stream(method, inputs, optionsOf(context));
  }
}

async function* streamOf<T>(value: T): AsyncGenerator<T> {
  yield value;
}

async function onlyAnswer(answers: AsyncIterable<unknown>): Promise<unknown> {
  for await (const answer of answers) return answer;
  throw new HmsError("INTERNAL", "The callee ended the call without an answer.");
}
