/** A program of the TypeScript SDK with OpenTelemetry's own SDK: takes an order for each line of its input. */
import { createInterface } from "node:readline";
import { Client, Events, openTelemetryTracer, serve } from "@hms/ffi";
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { AlwaysOnSampler, BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";

// Where the collector is says OTEL_EXPORTER_OTLP_ENDPOINT, as in every program with this exporter.
const exporter = new OTLPTraceExporter();
const provider = new TracerProvider({
  resource: resourceFromAttributes({ "service.name": "shop" }),
  sampler: new AlwaysOnSampler(),
  spanProcessors: [new BatchSpanProcessor({ exporter, scheduledDelayMillis: 100 })],
});
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
trace.setGlobalTracerProvider(provider);

const say = (message: string, traceparent: string | undefined) =>
  process.stdout.write(`${JSON.stringify({ message, traceId: traceparent?.split("-")[1] })}\n`);

const service = await serve({
  serviceId: "demo.shop",
  methods: {
    Ship: (_request, call) => {
      say("shop ships", call.traceparent);
      return { shipped: true };
    },
  },
  tracer: openTelemetryTracer(),
});
await service.registered;

const events = new Events();
const heard = events.subscribe("demo.traced.books.*", {
  group: "shop",
  onSubscribed: () => say("shop is ready", undefined),
});
void (async () => {
  for await (const event of heard) say(`shop hears ${event.topic}`, event.extensions.traceparent);
})().catch(() => {});

const books = new Client("demo.books");
for await (const name of createInterface({ input: process.stdin })) {
  await trace.getTracer("shop").startActiveSpan("order", async (span) => {
    const { spanId, traceId } = span.spanContext();
    const settled = await books.call<{ greeting: string }>("Settle", { name });
    const archiving = await books.callAsync("Archive", { name });
    await events.publish("demo.traced.shop.ordered", { name }, { durable: true });
    await archiving.result({ timeoutMs: 30_000 });
    span.end();
    say(`shop has ordered: ${settled.greeting}`, `00-${traceId}-${spanId}-01`);
  });
}
await service.close();
await provider.shutdown();
process.exit();
