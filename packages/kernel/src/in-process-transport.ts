import { create, type DescMessage } from "@bufbuild/protobuf";
import type { CallOptions, Transport } from "./client.ts";
import { EncodedMessage } from "./encoded-message.ts";
import type { Kernel } from "./kernel.ts";
import type { IncomingCall } from "./kernel-options.ts";
import type { Principal } from "./principal.ts";

function incoming(principal: Principal, options: CallOptions | undefined): IncomingCall {
  const caller = { principal };
  if (options === undefined) return { caller };
  const { context, timeoutMs, metadata } = options;
  const own = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
  const inherited = context?.deadlineAt;
  return {
    caller: context ? { principal: context.principal } : caller,
    deadlineAt: own === undefined ? inherited : Math.min(own, inherited ?? own),
    signal: options.signal ?? (context?.cancellable ? context.signal : undefined),
    metadata: context ? context.passedOn(metadata) : metadata,
    ...(options.onMetadata ? { tell: options.onMetadata } : {}),
  };
}

function whole(desc: DescMessage, given: object): unknown {
  const input = EncodedMessage.messageOf(given) as object;
  return "$typeName" in input ? input : create(desc, input as never);
}

async function* wholeEach(desc: DescMessage, inputs: AsyncIterable<object>): AsyncGenerator<unknown> {
  for await (const input of inputs) yield whole(desc, input);
}

/** A transport that stays in this process: messages pass by reference, the pipeline is the same. */
export function createInProcessTransport(kernel: Kernel, principal: Principal): Transport {
  return {
    unary(method, input, options) {
      return kernel.unary(kernel.entryOf(method), whole(method.input, input), incoming(principal, options));
    },
    stream(method, inputs, options) {
      const entry = kernel.entryOf(method);
      return kernel.stream(
        entry,
        wholeEach(method.input, inputs as AsyncIterable<object>),
        incoming(principal, options),
      );
    },
  };
}
