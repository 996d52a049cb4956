import { Client, type TlsFiles } from "../src/index.ts";
import { outcomeOf } from "./error-outcome.ts";
import type { Order } from "./peer.ts";
import { Translator } from "./translator.ts";

/** Messages that are handed to a stream one by one, and when the SDK has accepted each. */
class Outbox implements AsyncIterable<object> {
  readonly #waiting: { message: object; accepted: (accepted: boolean) => void }[] = [];
  #wake = () => {};
  #closed = false;
  sent = 0;

  send(message: object): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    return new Promise((accepted) => {
      this.#waiting.push({ message, accepted });
      this.#wake();
    });
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<object> {
    let current: { accepted: (accepted: boolean) => void } | undefined;
    try {
      for (;;) {
        const next = this.#waiting.shift();
        if (next) {
          current = next;
          yield next.message;
          this.sent += 1;
          next.accepted(true);
          current = undefined;
        } else if (this.#closed) return;
        else
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
      }
    } finally {
      this.#closed = true;
      current?.accepted(false);
      this.end();
    }
  }

  /** The call has ended: nothing more is accepted. */
  end(): void {
    this.#closed = true;
    for (const { accepted } of this.#waiting.splice(0)) accepted(false);
    this.#wake();
  }
}

/** A call that has a name. */
interface OpenCall {
  method: string;
  typed: boolean;
  outbox: Outbox | undefined;
  answers: AsyncIterator<unknown> | undefined;
  cancel: () => void;
  /** What the service has said beside its answers so far. */
  heard: Heard;
}

type Heard = Record<string, string>;

/** A client that has a name. */
export interface Connected {
  client: Client;
  typed: boolean;
}

/** Calls as the runner orders them. */
export class ClientRole {
  readonly commands: Record<string, (order: Order) => unknown>;
  readonly #contract: Uint8Array;
  readonly translator: Translator;
  readonly #clients = new Map<string, Connected>();
  readonly #calls = new Map<string, OpenCall>();

  constructor(contract: Uint8Array) {
    this.#contract = contract;
    this.translator = new Translator(contract);
    this.commands = {
      connect: (order) => this.#connect(order),
      call: (order) => this.#call(order),
      open: (order) => this.#open(order),
      send: (order) => this.#send(order),
      progress: (order) => ({ sent: this.#named(order).outbox?.sent ?? 0 }),
      closeSend: (order) => {
        this.#named(order).outbox?.close();
        return {};
      },
      receive: (order) => this.#receive(order),
      cancel: (order) => {
        this.#named(order).cancel();
        return {};
      },
      disconnect: (order) => this.#disconnect(order),
    };
  }

  #connect({ client, service, address, codec, contract, ticket, token, tls }: Order): object {
    const typed = contract !== "none";
    const options = {
      ...(typeof address === "string" ? { address } : {}),
      ...(typeof codec === "string" ? { codec: codec as "json" } : {}),
      ...(typed && service === undefined ? { contract: this.#contract } : {}),
      ...(typeof ticket === "string" ? { ticket } : {}),
      ...(typeof token === "string" ? { token } : {}),
      ...(tls ? { tls: tls as TlsFiles } : {}),
    };
    this.#clients.set(String(client), { client: new Client(String(service ?? "hms.conformance"), options), typed });
    return {};
  }

  async #disconnect({ client }: Order): Promise<object> {
    await this.#clients.get(String(client))?.client.close();
    return {};
  }

  /** @throws Error if there is no such client */
  client({ client }: Order): Connected {
    const found = this.#clients.get(String(client));
    if (found === undefined) throw new Error(`There is no client ${client}.`);
    return found;
  }

  #named({ call }: Order): OpenCall {
    const found = this.#calls.get(String(call));
    if (found === undefined) throw new Error(`There is no call ${call}.`);
    return found;
  }

  async #call(order: Order): Promise<object> {
    const { client, typed } = this.client(order);
    const method = String(order.method);
    const controller = new AbortController();
    const cancel = () => controller.abort();
    if (order.call)
      this.#calls.set(String(order.call), { method, typed, outbox: undefined, answers: undefined, cancel, heard: {} });
    const heard: Heard = {};
    const options = { ...optionsOf(order, heard), signal: controller.signal };
    try {
      const request = this.translator.request(typed, method, order.request);
      const answer = await client.call(method, request, options);
      return { response: this.translator.response(typed, method, answer), ...saidBeside(heard) };
    } catch (error) {
      return { error: outcomeOf(error), ...saidBeside(heard) };
    }
  }

  #open(order: Order): object {
    const { client, typed } = this.client(order);
    const method = String(order.method);
    const controller = new AbortController();
    const heard: Heard = {};
    const options = { ...optionsOf(order, heard), signal: controller.signal };
    const outbox = method === "Read" ? undefined : new Outbox();
    const request = outbox ?? this.translator.request(typed, method, order.request);
    const answers =
      method === "Collect"
        ? onlyAnswer(client.call(method, request, options))
        : client.stream(method, request, options)[Symbol.asyncIterator]();
    const eager = method === "Collect" ? answers : begun(answers);
    const cancel = () => controller.abort();
    this.#calls.set(String(order.call), { method, typed, outbox, answers: eager, cancel, heard });
    return {};
  }

  async #send(order: Order): Promise<object> {
    const { outbox, typed, method } = this.#named(order);
    const message = this.translator.request(typed, method, order.message);
    let sent = 0;
    for (let i = 0; i < Number(order.times ?? 1); i += 1) {
      if (!(await outbox?.send(message))) return { sent, ended: true };
      sent += 1;
    }
    return { sent };
  }

  async #receive(order: Order): Promise<object> {
    const { answers, typed, method, outbox, heard } = this.#named(order);
    const messages: unknown[] = [];
    try {
      while (messages.length < Number(order.max ?? 1)) {
        const next = await answers?.next();
        if (next === undefined || next.done) {
          outbox?.end();
          return { messages, ended: true, ...saidBeside(heard) };
        }
        messages.push(this.translator.response(typed, method, next.value));
      }
      return { messages, ended: false, ...saidBeside(heard) };
    } catch (error) {
      outbox?.end();
      return { messages, ended: true, error: outcomeOf(error), ...saidBeside(heard) };
    }
  }
}

function saidBeside(heard: Heard): { metadata?: Heard } {
  return Object.keys(heard).length === 0 ? {} : { metadata: { ...heard } };
}

function optionsOf({ timeoutMs, metadata, idempotencyKey }: Order, heard: Heard) {
  return {
    onMetadata: (said: Readonly<Heard>) => void Object.assign(heard, said),
    ...(typeof timeoutMs === "number" ? { timeoutMs } : {}),
    ...(metadata ? { metadata: metadata as Record<string, string> } : {}),
    ...(typeof idempotencyKey === "string" ? { idempotencyKey } : {}),
  };
}

function onlyAnswer(answer: Promise<unknown>): AsyncGenerator<unknown> {
  // It may fail before anybody asks for it.
  answer.catch(() => {});
  return (async function* () {
    yield await answer;
  })();
}

/** An iteration that begins before anybody asks for its first answer. */
function begun(answers: AsyncIterator<unknown>): AsyncIterator<unknown> {
  let first: Promise<IteratorResult<unknown>> | undefined = answers.next();
  first.catch(() => {});
  return {
    next: () => {
      const next = first ?? answers.next();
      first = undefined;
      return next;
    },
  };
}
