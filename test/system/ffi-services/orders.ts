import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { type AsyncCall, Client, Events, FfiError, type ReceivedEvent, serve } from "@hms/ffi";

/** What the test asks a deployed service to do, as its programs do it in both languages. */
export interface Asked {
  do: string;
  service?: string;
  method?: string;
  request?: object;
  timeoutMs?: number;
  callback?: { service: string; method: string };
  id?: string;
  topic?: string;
  pattern?: string;
  data?: unknown;
  durable?: boolean;
  group?: string;
}

/** Names this process. */
const own = randomUUID();
const notes: unknown[] = [];
const heard: object[] = [];
const clients = new Map<string, Client>();
const started = new Map<string, AsyncCall<unknown>>();
const events = new Events();

const integers = { type: "array", items: { type: "integer" } } as const;
await serve({
  serviceId: "demo.orders",
  methods: {
    Add: {
      input: { type: "object", properties: { numbers: integers } },
      output: { type: "object", properties: { sum: { type: "integer" } } },
      idempotency: "no_side_effects",
      handler: ({ numbers = [] }) => ({ sum: numbers.reduce((sum: bigint, n: bigint) => sum + n, 0n) }),
    },
    Count: {
      input: { type: "object", properties: { to: { type: "integer" } } },
      output: { type: "object", properties: { n: { type: "integer" } } },
      async *handler({ to }) {
        for (let n = 1n; n <= to; n += 1n) yield { n };
      },
    },
    Who: (_request, { principal, remainingMs }) => ({
      principal: `${principal.kind}:${principal.id}`,
      roles: principal.roles ?? [],
      remainingMs: remainingMs === undefined ? null : Math.floor(remainingMs),
    }),
    Slow: {
      input: { type: "object", properties: { seconds: { type: "number" } } },
      output: { type: "object", properties: { slept: { type: "number" } } },
      idempotency: "idempotent",
      async handler({ seconds }, { signal }) {
        notes.push("slow begins");
        try {
          await delay(seconds * 1000, undefined, { signal });
        } catch (error) {
          notes.push("slow was cancelled");
          throw error;
        }
        return { slept: seconds };
      },
    },
    Note: (request) => {
      notes.push(request);
      return {};
    },
    Survive: {
      input: { type: "object", properties: { process: { type: "string" } } },
      output: { type: "object", properties: { process: { type: "string" } } },
      idempotency: "idempotent",
      async handler({ process: named }, { signal }) {
        notes.push("survive begins");
        if (named === own) await delay(60_000, undefined, { signal });
        return { process: own };
      },
    },
    SlowOnce: async (_request, { signal }) => {
      notes.push("slow once begins");
      await delay(60_000, undefined, { signal });
      return {};
    },
    async *Pour(_request, { signal }) {
      const note = { poured: 0 };
      notes.push(note);
      const filler = "x".repeat(64 * 1024);
      for (; !signal.aborted; note.poured += 1) yield { filler };
    },
    async *Drip(_request, { signal }) {
      notes.push("drip begins");
      try {
        for (let n = 0; ; n += 1) {
          yield { n };
          await delay(50, undefined, { signal });
        }
      } finally {
        notes.push("drip ends");
      }
    },
    Relay: async ({ name }, context) => {
      const [, traceId] = (context.traceparent ?? "").split("-");
      console.error(JSON.stringify({ message: "orders relays", traceId }));
      const below = await client({ do: "call", service: "demo.ledger" }).call("Relay", { name }, { context });
      return { trace: context.traceparent, below };
    },
  },
});
await serve({
  contract: readFileSync("stock.binpb"),
  serviceId: "demo.stock",
  methods: { GetItem: ({ sku }) => ({ sku, pieces: 9_007_199_254_740_993n, counted: new Date(0) }) },
});

function client({ service = "" }: Asked): Client {
  const known = clients.get(service) ?? new Client(service);
  clients.set(service, known);
  return known;
}

function call(asked: Asked): Promise<unknown> {
  const { method = "", request = {}, timeoutMs = 10_000 } = asked;
  return client(asked).call(method, request, { timeoutMs });
}

const often = { ended: false, calls: 0, failures: [] as string[], done: Promise.resolve() };

async function callOften(asked: Asked): Promise<void> {
  while (!often.ended) {
    await call(asked).then(
      () => {
        often.calls += 1;
      },
      (error) => often.failures.push(String(error)),
    );
    await delay(5);
  }
}

async function hearAll(pattern: string, hear: (event: ReceivedEvent) => void): Promise<void> {
  for await (const event of events.subscribe(pattern)) hear(event);
}

const operation = ({ id = "" }: Asked) => started.get(id) as AsyncCall<unknown>;
const tasks: Record<string, (asked: Asked) => unknown> = {
  call,
  async stream({ method = "", request = {}, ...asked }) {
    const answers: unknown[] = [];
    for await (const answer of client(asked).stream(method, request)) answers.push(answer);
    return answers;
  },
  async start({ method = "", request = {}, callback, ...asked }) {
    const running = await client(asked).callAsync(method, request, callback ? { callback } : {});
    started.set(running.id, running);
    return running.id;
  },
  status: async (asked) => (await operation(asked).status()).state,
  result: (asked) => operation(asked).result({ timeoutMs: 30_000 }),
  cancel: (asked) => operation(asked).cancel(),
  publish: ({ topic = "", data, durable = false }) => events.publish(topic, data, { durable }),
  subscribe({ pattern = "", group }) {
    const hear = ({ topic, data, source }: ReceivedEvent) => heard.push({ topic, data, source });
    if (group) void events.consume(pattern, hear, { group });
    else void hearAll(pattern, hear);
  },
  heard: () => heard,
  notes: () => notes,
  process: () => own,
  often(asked) {
    Object.assign(often, { ended: false, calls: 0, failures: [] });
    often.done = callOften(asked);
  },
  counting: () => often.calls,
  async counted() {
    often.ended = true;
    await often.done;
    return { calls: often.calls, failures: often.failures };
  },
};

const plain = (_key: string, value: unknown) => (typeof value === "bigint" ? Number(value) : value);

createServer(async (request, response) => {
  if (request.method !== "POST") return response.end();
  const asked = (await json(request)) as Asked;
  try {
    const answer = (await tasks[asked.do]?.(asked)) ?? null;
    return response.end(JSON.stringify({ answer }, plain));
  } catch (caught) {
    const { code, message } = FfiError.of(caught);
    return response.end(JSON.stringify({ error: { code, message } }));
  }
}).listen(Number(process.env.PORT), "127.0.0.1");
