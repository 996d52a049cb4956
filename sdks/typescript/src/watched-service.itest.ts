import { integrationEvents } from "@hms/contracts";
import { descriptorSetOf } from "@hms/descriptors";
import type { CallContext, HmsError } from "@hms/kernel";
import { tempFolder } from "@hms/testkit";
import { SpanKind } from "@opentelemetry/api";
import { AlwaysOnSampler, InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Client, InvalidArgumentError, NotFoundError, openTelemetryTracer, type ServeOptions, serve } from "./index.ts";

const { EventService } = integrationEvents;

let stack = new AsyncDisposableStack();
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

/** A service with a contract that has rules, and its caller; nobody needs a registry. */
async function callerOf(options: Partial<ServeOptions> = {}) {
  const handled: unknown[] = [];
  const service = await serve({
    contract: EventService,
    methods: {
      Publish: (request: { topic: string }) => {
        handled.push(request.topic);
        if (request.topic === "lost") throw new NotFoundError("No such topic.");
        return { ids: ["e-1"] };
      },
      Subscribe: { streaming: "server", handler: async function* () {} },
      Acknowledge: () => ({}),
    },
    register: false,
    listen: `unix:${stack.use(tempFolder()).path}/s.sock`,
    ...options,
  });
  stack.use(service);
  const contract = descriptorSetOf([EventService.file]);
  const client = new Client("hms.sys.integration", { address: service.address, contract });
  return { client: stack.use(client), handled };
}

describe("a service", () => {
  test("is only handed requests that keep the rules of its contract; others are refused with every violation", async () => {
    const { client, handled } = await callerOf();
    const error = await client.call("Publish", { topic: "not a topic" }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(InvalidArgumentError);
    expect(error).toMatchObject({ reason: "REQUEST_NOT_VALID" });
    const { violations } = error as InvalidArgumentError;
    expect(violations.map(({ field }) => field).sort()).toEqual(["events", "topic"]);
    expect(await client.call("Publish", { topic: "a.b", events: [{}] })).toEqual({ ids: ["e-1"] });
    expect(handled).toEqual(["a.b"]);
  });

  test("tells its observer how every call ended, and of what failed", async () => {
    const ended: string[] = [];
    const failed: string[] = [];
    const { client } = await callerOf({
      observer: {
        finished: ({ desc }, code, durationMs) => ended.push(`${desc.name} ${code} ${durationMs >= 0}`),
        failed: (_: CallContext, { message }: HmsError) => failed.push(message),
      },
    });
    await client.call("Publish", { topic: "a", events: [{}] });
    await expect(client.call("Publish", { topic: "lost", events: [{}] })).rejects.toBeInstanceOf(NotFoundError);
    expect(ended).toEqual(["Publish OK true", "Publish NOT_FOUND true"]);
    expect(failed).toEqual(["No such topic."]);
  });

  test("lets its tracer follow every call, with the caller's trace", async () => {
    const spans: string[] = [];
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const { client } = await callerOf({
      tracer: {
        begin: ({ metadata }) => {
          spans.push(`begun ${metadata.traceparent}`);
          return {
            traceparent,
            run: (work) => work(),
            end: (error) => spans.push(`ended ${error?.code ?? "OK"}`),
          };
        },
        failed: () => {},
      },
    });
    await client.call("Publish", { topic: "a", events: [{}] }, { metadata: { traceparent } });
    expect(spans).toEqual([`begun ${traceparent}`, "ended OK"]);
  });

  test("makes a server span of each call by the OpenTelemetry API, below its caller's", async () => {
    const exporter = new InMemorySpanExporter();
    const provider = new TracerProvider({
      sampler: new AlwaysOnSampler(),
      spanProcessors: [new SimpleSpanProcessor({ exporter })],
    });
    stack.defer(() => provider.shutdown());
    const { client } = await callerOf({ tracer: openTelemetryTracer({ tracer: provider.getTracer("test") }) });
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    await client.call("Publish", { topic: "a", events: [{}] }, { metadata: { traceparent } });
    await client.call("Publish", { topic: "lost", events: [{}] }).catch(() => {});
    const [first, second] = exporter.getFinishedSpans();
    expect(first).toMatchObject({ kind: SpanKind.SERVER, parentSpanContext: { spanId: "00f067aa0ba902b7" } });
    expect(first?.spanContext().traceId).toBe("4bf92f3577b34da6a3ce929d0e0e4736");
    expect(second).toMatchObject({ status: { message: "No such topic." }, attributes: { "rpc.grpc.status_code": 5 } });
  });
});
