import { registry } from "@hms/contracts";
import {
  anonymous,
  type CallContext,
  componentPrincipal,
  HmsError,
  implement,
  Kernel,
  type ServiceImplementation,
} from "@hms/kernel";
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { AlwaysOnSampler, InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createCallTracer } from "./index.ts";
import { parseTraceparent } from "./traceparent.ts";

const exporter = new InMemorySpanExporter();
const provider = new TracerProvider({
  sampler: new AlwaysOnSampler(),
  spanProcessors: [new SimpleSpanProcessor({ exporter })],
});
beforeAll(() => context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable()));
afterEach(() => exporter.reset());
afterAll(async () => {
  context.disable();
  await provider.shutdown();
});

type Handlers = ServiceImplementation<typeof registry.RegistryService>;

function kernelWith(own: Partial<Handlers>, ratio: number, tracer = provider.getTracer("test")) {
  const kernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
    tracer: createCallTracer({ tracer, ratio }),
  });
  const { RegistryService } = registry;
  const others = Object.fromEntries(RegistryService.methods.map(({ localName }) => [localName, () => ({})]));
  kernel.register(implement(RegistryService, { ...others, ...own } as Handlers));
  return { kernel, client: kernel.client(RegistryService, componentPrincipal("test")) };
}

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const sampled = { traceparent: `00-${TRACE}-${SPAN}-01` };
const unsampled = { traceparent: `00-${TRACE}-${SPAN}-00` };
const spans = () => exporter.getFinishedSpans();

describe("a call whose caller's trace is sampled", () => {
  test("has a span below the caller's, with method, principal and code", async () => {
    const { client } = kernelWith({}, 0);
    await client.lookup({ serviceId: "hms.a" }, { metadata: sampled });
    expect(spans()).toHaveLength(1);
    const [span] = spans();
    expect(span).toMatchObject({ name: "hms.ffi.v1.RegistryService/Lookup", status: { code: 0 } });
    expect(span?.spanContext().traceId).toBe(TRACE);
    expect(span?.parentSpanContext?.spanId).toBe(SPAN);
    expect(span?.attributes).toMatchObject({ "hms.principal": "component:test", "rpc.grpc.status_code": 0 });
  });

  test("passes its own span on to the calls made for it, and is the current one while its handler runs", async () => {
    let current: string | undefined;
    const inner = kernelWith({}, 0);
    const outer = kernelWith(
      {
        list: async (_, call) => {
          await Promise.resolve();
          current = trace.getActiveSpan()?.spanContext().spanId;
          await inner.client.lookup({ serviceId: "hms.a" }, { context: call });
          return {};
        },
      },
      0,
    );
    await outer.client.list({}, { metadata: sampled });
    const [lookup, list] = spans();
    expect(list?.name).toContain("List");
    expect(lookup?.parentSpanContext?.spanId).toBe(list?.spanContext().spanId);
    expect(current).toBe(list?.spanContext().spanId);
  });

  test("that streams has one span for its whole life, current while each message is made", async () => {
    const seen = new Set<string | undefined>();
    const { client } = kernelWith(
      {
        async *watch() {
          for (let message = 0; message < 3; message += 1) {
            seen.add(trace.getActiveSpan()?.spanContext().spanId);
            yield {};
          }
        },
      },
      0,
    );
    let messages = 0;
    for await (const _ of client.watch({}, { metadata: sampled })) messages += 1;
    expect(messages).toBe(3);
    expect(spans()).toHaveLength(1);
    expect([...seen]).toEqual([spans()[0]?.spanContext().spanId]);
  });

  test("that fails says so in its span", async () => {
    const lookup = () => {
      throw new HmsError("NOT_FOUND", "There is no hms.a.");
    };
    const { client } = kernelWith({ lookup }, 0);
    await expect(client.lookup({}, { metadata: sampled })).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(spans()[0]).toMatchObject({ status: { code: 2, message: "There is no hms.a." } });
    expect(spans()[0]?.attributes["rpc.grpc.status_code"]).toBe(5);
  });
});

test("a call in a program that registers no OpenTelemetry SDK has no span, and no trace is made up", async () => {
  const unregistered = trace.getTracer("test");
  const heard: (string | undefined)[] = [];
  const lookup = (_: unknown, { metadata }: { metadata: { traceparent?: string } }) => {
    heard.push(metadata.traceparent);
    return {};
  };
  const inner = kernelWith({ lookup }, 1, unregistered);
  const list = async (_: unknown, call: CallContext) => {
    await inner.client.lookup({ serviceId: "hms.a" }, { context: call });
    return {};
  };
  await kernelWith({ list }, 1, unregistered).client.list({});
  expect([heard, spans()]).toEqual([[undefined], []]);
});

describe("a call whose caller's trace is not sampled", () => {
  test("has no span, and passes the trace on as it came", async () => {
    let passed: string | undefined;
    const inner = kernelWith(
      {
        lookup: (_, call) => {
          passed = call.traceparent;
          return {};
        },
      },
      1,
    );
    const outer = kernelWith(
      {
        list: async (_, call) => {
          await inner.client.lookup({}, { context: call });
          return {};
        },
      },
      1,
    );
    await outer.client.list({}, { metadata: unsampled });
    expect(spans()).toEqual([]);
    expect(passed).toBe(unsampled.traceparent);
  });

  test("has one all the same if the platform failed it", async () => {
    const lookup = () => {
      throw new Error("a bug");
    };
    const { client } = kernelWith({ lookup }, 0);
    await expect(client.lookup({}, { metadata: unsampled })).rejects.toMatchObject({ code: "INTERNAL" });
    expect(spans()).toHaveLength(1);
    expect(spans()[0]?.events[0]?.attributes?.["exception.message"]).toBe("a bug");
  });
});

test("of calls without a trace the ratio is kept", async () => {
  const { client } = kernelWith({}, 0.5);
  for (let call = 0; call < 400; call += 1) await client.lookup({});
  expect(spans().length).toBeGreaterThan(120);
  expect(spans().length).toBeLessThan(280);
});

test.each([
  ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true],
  ["00-00000000000000000000000000000000-00f067aa0ba902b7-01", undefined],
  ["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", undefined],
  ["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", undefined],
  ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x", undefined],
  ["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-x", true],
  ["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", undefined],
])("the traceparent %s is read as the standard says", (text, expected) => {
  expect(parseTraceparent(text)?.sampled).toBe(expected);
});
