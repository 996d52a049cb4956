import type { MessageInitShape } from "@bufbuild/protobuf";
import type { grpcReflection } from "@hms/contracts";
import { HmsError } from "@hms/kernel";

type Request = MessageInitShape<typeof grpcReflection.ServerReflectionRequestSchema>;
type Response = grpcReflection.ServerReflectionResponse;

/** A stream of questions, of which each gets one answer. */
export interface ReflectionStream {
  /** True once there was an answer. */
  readonly answered: boolean;
  /** Sends a question and waits for its answer. @throws HmsError as the call ends, UNAVAILABLE if it just ends. */
  ask(request: Request): Promise<Response>;
  /** Ends the call. */
  close(): void;
}

/** Questions as they are asked, until `end`. */
class Outbox {
  #waiting = Promise.withResolvers<Request | undefined>();
  readonly #queued: (Request | undefined)[] = [];

  put(request: Request | undefined): void {
    this.#queued.push(request);
    this.#waiting.resolve(undefined);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Request> {
    for (;;) {
      if (this.#queued.length === 0) await this.#waiting.promise;
      this.#waiting = Promise.withResolvers();
      while (this.#queued.length > 0) {
        const request = this.#queued.shift();
        if (request === undefined) return;
        yield request;
      }
    }
  }
}

/** Asks over a bidirectional call; questions wait for each other. */
export function questionsOver(call: (requests: AsyncIterable<Request>) => AsyncIterable<Response>): ReflectionStream {
  const outbox = new Outbox();
  const answers = call(outbox)[Symbol.asyncIterator]();
  let answered = false;
  return {
    get answered() {
      return answered;
    },
    async ask(request) {
      outbox.put(request);
      const { value, done } = await answers.next();
      if (done) throw new HmsError("UNAVAILABLE", "The server ended its reflection before it had answered.");
      answered = true;
      return value;
    },
    close: () => {
      outbox.put(undefined);
      // Its end is of no interest: what was asked has been answered, or has failed already.
      answers.return?.().catch(() => {});
    },
  };
}
