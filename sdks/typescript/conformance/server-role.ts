import { type CallContext, FfiError, type Methods, type ServedService, serve, type TlsFiles } from "../src/index.ts";
import { errorOf, type Failure } from "./error-outcome.ts";
import { Notes } from "./notes.ts";
import type { Order } from "./peer.ts";

interface Step {
  echo?: boolean;
  say?: { text?: string; times?: number; size?: number };
  fail?: Failure;
  crash?: boolean;
  report?: boolean;
  hold?: boolean;
  flaky?: { times?: number; fail: Failure };
  die?: boolean;
  tell?: { metadata?: Record<string, string> };
}

interface RunRequest {
  key?: string;
  text?: string;
  data?: Uint8Array | string;
  steps?: Step[];
}

/** One call, step by step. */
class Run {
  readonly #notes: Notes;
  readonly #context: CallContext;
  #key = "";

  constructor(notes: Notes, context: CallContext) {
    this.#notes = notes;
    this.#context = context;
  }

  begin({ key = "" }: RunRequest): void {
    this.#key = key;
    this.note("started");
  }

  note(event: string): void {
    this.#notes.note(this.#key, event);
  }

  /** Notes how the work ended. */
  async *noting<T>(work: () => AsyncIterable<T>): AsyncGenerator<T> {
    let outcome = "cancelled";
    try {
      yield* work();
      outcome = "finished";
    } catch (error) {
      outcome = "failed";
      throw error;
    } finally {
      this.note(this.#context.signal.aborted ? "cancelled" : outcome);
    }
  }

  /** What the steps of a request answer. */
  async *answers(request: RunRequest): AsyncGenerator<object> {
    let answered = false;
    for (const step of request.steps ?? []) {
      for await (const answer of this.#step(step, request)) {
        answered = true;
        yield answer;
      }
    }
    if (!answered) yield echoOf(request);
  }

  async *#step(step: Step, request: RunRequest): AsyncGenerator<object> {
    if (step.fail) throw errorOf(step.fail);
    if (step.crash) throw new TypeError("a secret that stays at home");
    if (step.die) process.kill(process.pid, "SIGKILL");
    if (step.hold) await this.#notes.hold(this.#key, this.#context);
    if (step.flaky && this.#notes.callNumber(this.#key) <= (step.flaky.times ?? 0)) throw errorOf(step.flaky.fail);
    if (step.tell) this.#context.sendMetadata(step.tell.metadata ?? {});
    if (step.echo) yield echoOf(request);
    if (step.say) yield* sayings(step.say);
    if (step.report) yield { report: this.#report() };
  }

  #report(): object {
    const { metadata, remainingMs, principal } = this.#context;
    const { kind, id, environment = "", roles = [], mfa = false } = principal;
    return {
      metadata: { ...metadata },
      ...(remainingMs === undefined ? {} : { remaining: remainingMs }),
      principal: kind === "anonymous" ? "" : `${kind}:${id}`,
      environment,
      roles: [...roles],
      mfa,
    };
  }
}

function* sayings({ text = "", times = 0, size = 0 }: NonNullable<Step["say"]>): Generator<object> {
  for (let i = 0; i < Math.max(1, times); i += 1) yield { text: text.padEnd(size, ".") };
}

function echoOf({ text = "", data }: RunRequest): object {
  return data === undefined || data.length === 0 ? { text } : { text, data };
}

function methodsOf(notes: Notes): Methods {
  const unary = async (request: RunRequest, context: CallContext) => {
    const run = new Run(notes, context);
    run.begin(request);
    let last: object = {};
    for await (const answer of run.noting(() => run.answers(request))) last = answer;
    return last;
  };
  return {
    Run: unary,
    RunAgain: { handler: unary, idempotency: "idempotent" },
    Read: {
      streaming: "server",
      idempotency: "no_side_effects",
      handler: async function* (request: RunRequest, context: CallContext) {
        const run = new Run(notes, context);
        run.begin(request);
        yield* run.noting(async function* () {
          for await (const answer of run.answers(request)) {
            yield answer;
            run.note("sent");
          }
        });
      },
    },
    Collect: {
      streaming: "client",
      handler: (requests: AsyncIterable<RunRequest>, context: CallContext) => collect(notes, requests, context),
    },
    Converse: {
      streaming: "both",
      handler: async function* (requests: AsyncIterable<RunRequest>, context: CallContext) {
        const run = new Run(notes, context);
        yield* run.noting(async function* () {
          let at = 0;
          for await (const request of requests) {
            if (at === 0) run.begin(request);
            else run.note("message");
            at += 1;
            for await (const answer of run.answers(request)) {
              yield answer;
              run.note("sent");
            }
          }
        });
      },
    },
    Echo: { handler: (request: object) => request, idempotency: "no_side_effects" },
    Check: { handler: ({ name }: { name: string }) => ({ text: name }), idempotency: "no_side_effects" },
    Ended: {
      idempotency: "idempotent",
      handler: (request: { operationId: string }) => {
        const id = request.operationId;
        notes.ended.set(id, [...(notes.ended.get(id) ?? []), request]);
        return {};
      },
    },
  };
}

async function beginSteps(run: Run, request: RunRequest): Promise<void> {
  run.begin(request);
  // What they would answer nobody asks for.
  if (request.steps?.length) for await (const _ of run.answers(request));
}

async function collect(notes: Notes, requests: AsyncIterable<RunRequest>, context: CallContext): Promise<object> {
  const run = new Run(notes, context);
  const texts: string[] = [];
  const work = async function* () {
    for await (const request of requests) {
      if (texts.length > 0) run.note("message");
      else await beginSteps(run, request);
      texts.push(request.text ?? "");
    }
    yield* [];
  };
  for await (const _ of run.noting(work));
  return { text: texts.join("+"), count: texts.length };
}

/** Serves, and says what was noted. */
export class ServerRole {
  readonly commands: Record<string, (order: Order) => unknown>;
  readonly #contract: Uint8Array;
  readonly #notes = new Notes();
  readonly #servers = new Map<string, ServedService>();

  constructor(contract: Uint8Array) {
    this.#contract = contract;
    this.commands = {
      serve: (order) => this.#serve(order),
      seen: ({ key }) => ({ events: this.#notes.events(String(key)) }),
      release: ({ key }) => {
        this.#notes.release(String(key));
        return {};
      },
      told: ({ operation }) => ({ ended: this.#notes.ended.get(String(operation)) ?? [] }),
      drain: (order) => this.#drain(order),
    };
  }

  async #serve(order: Order): Promise<object> {
    const { server, listen, contract = "descriptors", maxConcurrentCalls = 100, timeoutMs = 30_000 } = order;
    const { register = false, ticketKey, audience, instanceId, address, tls, failing } = order;
    const service = await serve({
      serviceId: "hms.conformance",
      methods: methodsOf(this.#notes),
      ...(contract === "descriptors" ? { contract: this.#contract } : {}),
      ...(listen === "tcp" || listen === "tls" ? { listen: `${listen}://127.0.0.1:0` } : {}),
      ...(tls ? { tls: tls as TlsFiles } : {}),
      ...(typeof address === "string" ? { listen: address } : {}),
      ...(typeof instanceId === "string" ? { instanceId } : {}),
      ...(ticketKey === undefined
        ? {}
        : {
            access: { ticketKey: new Uint8Array(Buffer.from(String(ticketKey), "base64")), audience: String(audience) },
          }),
      ...(failing === undefined ? {} : { interceptors: [() => Promise.reject(errorOf(failing as Failure))] }),
      register: register === true,
      maxConcurrentCalls: Number(maxConcurrentCalls),
      timeoutMs: Number(timeoutMs),
    });
    await service.registered;
    this.#servers.set(String(server), service);
    return { address: service.address };
  }

  async #drain({ server, graceMs }: Order): Promise<object> {
    const service = this.#servers.get(String(server));
    this.#servers.delete(String(server));
    if (service === undefined) throw new FfiError("NOT_FOUND", `There is no server ${server}.`);
    await service.close(typeof graceMs === "number" ? { graceMs } : {});
    return {};
  }
}
