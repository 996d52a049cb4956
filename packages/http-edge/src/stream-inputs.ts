import type { IncomingMessage } from "node:http";
import type { BodyReader } from "./body-reader.ts";
import { EdgeFault } from "./edge-fault.ts";
import { parseJson } from "./json-text.ts";
import { splitLines } from "./line-splitter.ts";
import { mediaTypeOf } from "./media-type.ts";
import { requestMessage, takesRawBody } from "./request-message.ts";
import { registryOf } from "./type-registry.ts";
import type { RoutedTurn } from "./unary-exchange.ts";

/** The messages of a request's body, and what was wrong with them. */
export class StreamInputs implements AsyncIterable<object> {
  readonly #turn: RoutedTurn;
  readonly #bodies: BodyReader;
  /** The fault that ended the messages, as the client is to be told it. */
  fault: EdgeFault | undefined;

  constructor(turn: RoutedTurn, bodies: BodyReader) {
    this.#turn = turn;
    this.#bodies = bodies;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<object> {
    try {
      yield* this.#messages();
    } catch (thrown) {
      this.fault = EdgeFault.from(thrown);
      throw this.fault.error;
    }
  }

  #messages(): AsyncIterable<object> {
    const { request, binding } = this.#turn;
    if (binding.body === "none") return this.#one();
    if (takesRawBody(binding)) return this.#raw();
    const isWhole = mediaTypeOf(request.headers["content-type"]) === "application/json";
    return isWhole ? this.#whole() : this.#lines();
  }

  async *#one(): AsyncGenerator<object> {
    yield this.#message(undefined);
  }

  async *#raw(): AsyncGenerator<object> {
    const contentType = this.#turn.request.headers["content-type"] ?? "";
    for await (const data of chunksOf(this.#turn.request)) yield this.#message({ raw: { contentType, data } });
  }

  async *#whole(): AsyncGenerator<object> {
    const bytes = await this.#bodies.read(this.#turn.request);
    if (bytes.length === 0) return;
    const json = parseJson(bytes);
    for (const one of Array.isArray(json) ? json : [json]) yield this.#message({ json: one });
  }

  async *#lines(): AsyncGenerator<object> {
    const lines = splitLines(chunksOf(this.#turn.request), this.#bodies.maxBytes);
    for await (const line of lines) yield this.#message({ json: parseJson(line) });
  }

  #message(body: Parameters<typeof requestMessage>[1]["body"]): object {
    const { binding, segments, query } = this.#turn;
    return requestMessage(binding, { segments, query, body }, registryOf(binding.method));
  }
}

// The answer may still be under way when the messages are no longer read.
function chunksOf(request: IncomingMessage): AsyncIterable<Buffer> {
  return request.iterator({ destroyOnReturn: false });
}
