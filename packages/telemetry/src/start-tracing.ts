import { context, trace } from "@opentelemetry/api";
import { outgoingAgent } from "./outgoing-agent.ts";

/** Where spans go. */
export interface TracingOptions {
  /** The program's name, "hms-server". */
  serviceName: string;
  /** An OTLP/HTTP collector's address, "http://127.0.0.1:4318". */
  endpoint: string;
  /** Sent with each batch, for collectors that want a key. */
  headers?: Readonly<Record<string, string>>;
}

/**
 * Sends the spans of this process to a collector in batches; disposing sends the last ones. Loaded only when asked for:
 * the SDK is larger than all else that a small process needs.
 */
export async function startTracing({ serviceName, endpoint, headers }: TracingOptions): Promise<AsyncDisposable> {
  const [{ AsyncLocalStorageContextManager }, { OTLPTraceExporter }, { resourceFromAttributes }, sdk] =
    await Promise.all([
      import("@opentelemetry/context-async-hooks"),
      import("@opentelemetry/exporter-trace-otlp-http"),
      import("@opentelemetry/resources"),
      import("@opentelemetry/sdk-trace"),
    ]);
  const url = `${endpoint.replace(/\/+$/, "")}/v1/traces`;
  const exporter = new OTLPTraceExporter({ url, headers: { ...headers }, httpAgentOptions: outgoingAgent });
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({ "service.name": serviceName }),
    // Calls are sampled before spans are made.
    sampler: new sdk.AlwaysOnSampler(),
    spanProcessors: [new sdk.BatchSpanProcessor({ exporter })],
  });
  const manager = new AsyncLocalStorageContextManager().enable();
  context.setGlobalContextManager(manager);
  trace.setGlobalTracerProvider(provider);
  return {
    async [Symbol.asyncDispose]() {
      await provider.shutdown();
      trace.disable();
      context.disable();
    },
  };
}
