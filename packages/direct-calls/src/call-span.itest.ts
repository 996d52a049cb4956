import { registry } from "@hms/contracts";
import { openDirectory } from "@hms/directory";
import { MemoryRegistry } from "@hms/directory/testing";
import { anonymous, componentPrincipal, createClient, HmsError, implement, Kernel, type Transport } from "@hms/kernel";
import { tempFolder } from "@hms/testkit";
import { connectSocket, serveSocket } from "@hms/wire";
import { context, type Span, SpanKind, SpanStatusCode, TraceFlags, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { AlwaysOnSampler, InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createDirectCalls, tracedCalls } from "./index.ts";
import { echoContract, valuesOf } from "./testing/index.ts";

const contract = echoContract();
const stack = new AsyncDisposableStack();
const exporter = new InMemorySpanExporter();
const provider = new TracerProvider({
  sampler: new AlwaysOnSampler(),
  spanProcessors: [new SimpleSpanProcessor({ exporter })],
});
const callee = kernelOf();
let client: ReturnType<typeof createClient<typeof contract>>;
let connection: Transport;
let heard: string | undefined;

function kernelOf(): Kernel {
  return new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
}

beforeAll(async () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
  const unused = () => {
    throw new HmsError("NOT_FOUND", "Not here.");
  };
  callee.register(
    implement(contract, {
      read: (_, { metadata }) => {
        heard = metadata.traceparent;
        return { value: "" };
      },
      async *list(_, { metadata }) {
        heard = metadata.traceparent;
        yield { value: "a" };
        yield { value: "b" };
      },
      write: unused,
      collect: unused,
      // biome-ignore lint/correctness/useYield: it only fails
      async *converse() {
        unused();
      },
    }),
  );
  const server = await serveSocket(callee, { path: `${stack.use(tempFolder()).path}/a.sock`, graceMs: 100 });
  stack.defer(() => server.close({ graceMs: 0 }));
  connection = stack.use(connectSocket({ path: server.path }));
  const memory = new MemoryRegistry();
  memory.put({ environment: "default", serviceId: "hms.test", version: "v1" }, [
    { instanceId: "a", address: `unix:${server.path}` },
  ]);
  const registryKernel = kernelOf();
  registryKernel.register(memory.registration);
  const own = registryKernel.client(registry.RegistryService, componentPrincipal("self"));
  const directory = stack.use(openDirectory({ registry: own }));
  const calls = stack.use(createDirectCalls({ directory }));
  client = createClient(contract, calls.transport({ environment: "default" }));
});
afterEach(() => {
  exporter.reset();
  heard = undefined;
});
afterAll(async () => {
  await stack.disposeAsync();
  trace.disable();
  context.disable();
  await provider.shutdown();
});

const within = async <T>(work: () => Promise<T>): Promise<{ span: Span; result: T }> => {
  const span = provider.getTracer("test").startSpan("caller");
  const result = await context.with(trace.setSpan(context.active(), span), work);
  return { span, result };
};

describe("a direct call of a program that traces", () => {
  test("has a client span below the active one, and the callee goes on with it", async () => {
    const { span } = await within(() => client.read({ value: "" }));
    const [own] = exporter.getFinishedSpans();
    const { traceId, spanId } = own?.spanContext() ?? {};
    expect(own).toMatchObject({
      name: `${contract.typeName}/Read`,
      kind: SpanKind.CLIENT,
      attributes: { "rpc.method": "Read", "rpc.grpc.status_code": 0 },
      parentSpanContext: { spanId: span.spanContext().spanId },
    });
    expect(traceId).toBe(span.spanContext().traceId);
    expect(heard).toBe(`00-${traceId}-${spanId}-01`);
  });

  test("tells how it failed", async () => {
    await within(() => client.write({ value: "" }).catch(() => {}));
    expect(exporter.getFinishedSpans()).toMatchObject([
      { status: { code: SpanStatusCode.ERROR, message: "Not here." }, attributes: { "rpc.grpc.status_code": 5 } },
    ]);
  });

  test("that is a stream lasts until the stream has ended, or was left", async () => {
    await within(() => valuesOf(client.list({ value: "" })));
    await within(async () => {
      for await (const _ of client.list({ value: "" })) break;
    });
    const codes = exporter.getFinishedSpans().map(({ attributes }) => attributes["rpc.grpc.status_code"]);
    expect(codes).toEqual([0, 1]);
  });

  test("keeps to the decision not to sample, and to a traceparent that it is given", async () => {
    const unsampled = { traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: TraceFlags.NONE };
    await context.with(trace.setSpanContext(context.active(), unsampled), () => client.read({ value: "" }));
    expect(heard).toBe(`00-${unsampled.traceId}-${unsampled.spanId}-00`);
    const traceparent = `00-${"c".repeat(32)}-${"d".repeat(16)}-01`;
    await within(() => client.read({ value: "" }, { metadata: { traceparent } }));
    expect(heard).toBe(traceparent);
    expect(exporter.getFinishedSpans()).toEqual([]);
  });

  test("outside of any span has none", async () => {
    await client.read({ value: "" });
    expect([heard, exporter.getFinishedSpans()]).toEqual([undefined, []]);
  });
});

describe("a call over another transport", () => {
  test("belongs to the active span, too, if it has one answer", async () => {
    const traced = createClient(contract, tracedCalls(connection));
    const { span } = await within(() => traced.read({ value: "" }));
    await within(() => traced.write({ value: "" }).catch(() => {}));
    const [read, write] = exporter.getFinishedSpans();
    expect(read).toMatchObject({ name: `${contract.typeName}/Read`, kind: SpanKind.CLIENT });
    expect(read?.parentSpanContext?.spanId).toBe(span.spanContext().spanId);
    expect(heard).toBe(`00-${read?.spanContext().traceId}-${read?.spanContext().spanId}-01`);
    expect(write?.status).toMatchObject({ code: SpanStatusCode.ERROR, message: "Not here." });
  });
});
