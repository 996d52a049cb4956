import { HmsError } from "@hms/kernel";
import { answerText } from "./answer-text.ts";
import { EdgeCall } from "./edge-call.ts";
import { fault } from "./edge-fault.ts";
import { preferredType } from "./media-type.ts";
import { baseFields, DATA_FIELDS } from "./reply.ts";
import { checkBodyType } from "./request-body-type.ts";
import { requestMessage } from "./request-message.ts";
import { STREAM_FORMATS, STREAM_TYPES, type StreamFormat } from "./stream-format.ts";
import { StreamInputs } from "./stream-inputs.ts";
import { StreamWriter } from "./stream-writer.ts";
import { registryOf } from "./type-registry.ts";
import {
  admitLarge,
  bodyOf,
  type ExchangeShare,
  isRawAnswer,
  RAW_FIELDS,
  type RoutedTurn,
  rawAnswer,
  sendOutput,
} from "./unary-exchange.ts";

/** A stream that says nothing for this long is told to have begun: until then an error has its own status. */
const FIRST_MESSAGE_MS = 1000;
/** How often a quiet event stream gives a sign of life. */
const PULSE_MS = 15_000;

/** Answers a streaming call of any kind; rejects with what is to be told the client if nothing has been sent yet. */
export async function streamExchange(share: ExchangeShare, turn: RoutedTurn): Promise<void> {
  checkBodyType(turn);
  const { binding, entry } = turn;
  const isOne = entry.desc.methodKind === "client_streaming";
  const type = isOne || isRawAnswer(binding) ? undefined : acceptedType(turn);
  const call = new EdgeCall(turn);
  await admitLarge(share, turn, call);
  const takesStream = isOne || entry.desc.methodKind === "bidi_streaming";
  const inputs = takesStream ? new StreamInputs(turn, share.bodies) : one(await singleInput(share, turn));
  // A watch never ends by itself, and whoever watches has to come back anyway.
  if (!entry.mutates) share.watches.add(call);
  try {
    const answers = share.kernel.stream(entry, inputs, call);
    if (isOne) for await (const output of answers) sendOutput(turn, output);
    else if (type === undefined) await sendRawStream(turn, answers);
    else await sendStream(turn, answers, type);
  } catch (thrown) {
    throw (inputs instanceof StreamInputs ? inputs.fault : undefined) ?? thrown;
  } finally {
    share.watches.delete(call);
  }
}

async function singleInput(share: ExchangeShare, turn: RoutedTurn): Promise<object> {
  const { binding, segments, query, request } = turn;
  const body = binding.body === "none" ? undefined : bodyOf(turn, await share.bodies.read(request));
  return requestMessage(binding, { segments, query, body }, registryOf(binding.method));
}

async function* one<T>(value: T): AsyncGenerator<T> {
  yield value;
}

function acceptedType({ request }: RoutedTurn): (typeof STREAM_TYPES)[number] {
  const type = preferredType(request.headers.accept, STREAM_TYPES);
  if (type !== undefined) return type;
  throw fault("INVALID_ARGUMENT", `This method answers with ${STREAM_TYPES.join(" or ")}.`, {
    status: 406,
    reason: "NOT_ACCEPTABLE",
  });
}

async function sendStream(turn: RoutedTurn, answers: AsyncIterable<object>, type: (typeof STREAM_TYPES)[number]) {
  const { response, binding } = turn;
  const format = STREAM_FORMATS[type];
  const fields = [...baseFields(turn), "content-type", type, "cache-control", "no-store", "x-accel-buffering", "no"];
  fields.push(...DATA_FIELDS);
  const stream = new MessageStream(new StreamWriter(response, fields), format);
  const begin = setTimeout(() => stream.begin(), FIRST_MESSAGE_MS);
  const pulse = format.pulse === "" ? undefined : setInterval(() => stream.pulse(), PULSE_MS);
  const registry = registryOf(binding.method);
  try {
    for await (const output of answers) await stream.message(answerText(binding, output, registry));
    stream.close();
    response.end();
  } catch (error) {
    if (!response.headersSent) throw error;
    stream.fail(HmsError.from(error));
    response.end();
  } finally {
    clearTimeout(begin);
    clearInterval(pulse);
  }
}

/** A stream of messages in one format. */
class MessageStream {
  readonly #writer: StreamWriter;
  readonly #format: StreamFormat;
  #position = 0;
  #hasBegun = false;

  constructor(writer: StreamWriter, format: StreamFormat) {
    this.#writer = writer;
    this.#format = format;
  }

  begin(): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    this.#writer.open();
    this.#put(this.#format.opening);
  }

  message(json: string): Promise<void> | undefined {
    this.begin();
    const piece = this.#format.message(json, this.#position);
    this.#position += 1;
    return this.#writer.write(piece);
  }

  pulse(): void {
    if (this.#hasBegun) this.#put(this.#format.pulse);
  }

  close(): void {
    this.begin();
    this.#put(this.#format.closing(this.#position));
  }

  fail(error: HmsError): void {
    this.#put(this.#format.failure(error, this.#position));
  }

  // Small and rare pieces: nobody waits for them, and a client that has left is noticed elsewhere.
  #put(piece: string): void {
    this.#writer.write(piece)?.catch(() => {});
  }
}

async function sendRawStream(turn: RoutedTurn, answers: AsyncIterable<object>): Promise<void> {
  const { response, binding } = turn;
  const writer = new StreamWriter(response, [...baseFields(turn), ...RAW_FIELDS, "cache-control", "no-store"]);
  try {
    for await (const output of answers) {
      const { contentType, data } = rawAnswer(binding, output);
      writer.open(["content-type", contentType]);
      await writer.write(data);
    }
    writer.open();
    response.end();
  } catch (error) {
    if (!response.headersSent) throw error;
    // The only way left to say that the body is not complete.
    response.destroy();
  }
}
