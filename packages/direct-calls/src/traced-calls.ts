import { HmsError, type Transport } from "@hms/kernel";
import { beginCallSpan } from "./call-span.ts";

/**
 * A transport whose calls with one request and one answer belong to the span that is active where they are made, as direct
 * calls do; streams are carried as they are.
 */
export function tracedCalls(transport: Transport): Transport {
  return {
    async unary(method, input, options) {
      const span = beginCallSpan(method, options);
      try {
        const output = await transport.unary(method, input, span.options);
        span.end(undefined);
        return output;
      } catch (failure) {
        span.end(HmsError.from(failure));
        throw failure;
      }
    },
    stream: (method, inputs, options) => transport.stream(method, inputs, options),
  };
}
