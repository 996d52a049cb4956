import { calls } from "@hms/contracts";
import { type CallContext, implement, type ServiceRegistration } from "@hms/kernel";
import { type Observed, tapCalls } from "./call-tap.ts";

/** Characters of a page of metrics that one message carries. */
const PIECE_CHARACTERS = 256 * 1024;

/** What is known of calls in a process. */
export interface CallServiceOptions {
  /** Its `ended` is set while somebody taps. */
  readonly observer: Observed;
  /** The process's name: "server", or its parts. */
  readonly process: string;
  /** What has been counted, in Prometheus' text format, for whoever asks. */
  readonly metrics: (context: CallContext) => string | Promise<string>;
}

/** Serves `hms.ffi.v1.CallService`: calls as they end, and what has been counted of them. */
export function createCallService({ observer, process, metrics }: CallServiceOptions): ServiceRegistration {
  return implement(calls.CallService, {
    tapCalls: tapCalls(observer),
    async *getMetrics(_, context) {
      const text = await metrics(context);
      yield { process, text: text.slice(0, PIECE_CHARACTERS) };
      for (let at = PIECE_CHARACTERS; at < text.length; at += PIECE_CHARACTERS) {
        yield { process, text: text.slice(at, at + PIECE_CHARACTERS) };
      }
    },
  }) as ServiceRegistration;
}
