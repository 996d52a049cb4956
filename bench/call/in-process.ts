import { registry } from "@hms/contracts";
import { componentPrincipal } from "@hms/kernel";
import { type CallTracerOptions, createCallTracer } from "@hms/telemetry";
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { AlwaysOffSampler, TracerProvider } from "@opentelemetry/sdk-trace";
import { median } from "./median.ts";
import { pipelineKernel, REQUEST } from "./workload.ts";

const CALLS = 20_000;
const UNSAMPLED = { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00" };

type Call = () => Promise<unknown>;

function caller(tracer?: CallTracerOptions, metadata?: Record<string, string>): Call {
  const kernel = pipelineKernel();
  if (tracer === undefined) delete kernel.options.tracer;
  else kernel.options.tracer = createCallTracer(tracer);
  const client = kernel.client(registry.RegistryService, componentPrincipal("bench"));
  return metadata === undefined ? () => client.lookup(REQUEST) : () => client.lookup(REQUEST, { metadata });
}

/** CPU time of one call of each kind, in rounds that alternate; the median round counts. */
async function cpuUs<K extends string>(calls: Record<K, Call>, ms: number): Promise<Record<K, number>> {
  const each = Object.entries(calls) as [K, Call][];
  const rounds = new Map<K, number[]>(each.map(([name]) => [name, []]));
  for (const [, call] of each) for (let n = 0; n < 2 * CALLS; n += 1) await call();
  for (const endAt = performance.now() + ms; performance.now() < endAt; ) {
    for (const [name, call] of each) {
      const before = process.cpuUsage();
      for (let n = 0; n < CALLS; n += 1) await call();
      const { user, system } = process.cpuUsage(before);
      rounds.get(name)?.push((user + system) / CALLS);
    }
  }
  return Object.fromEntries([...rounds].map(([name, values]) => [name, median(values)])) as Record<K, number>;
}

/**
 * A call that stays in the process, with the whole pipeline; and what tracing costs it that is not sampled, where a
 * program has registered OpenTelemetry: because it begins a trace that our ratio does not keep, because the caller has said so
 * (`by_caller`), or because the program's own sampler says no to one that we would have kept (`by_program`). All against the
 * same call without a tracer.
 */
async function measure(ms: number) {
  const { alone } = await cpuUs({ alone: caller({}) }, ms / 4);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const tracer = new TracerProvider({ sampler: new AlwaysOffSampler() }).getTracer("bench");
  trace.setGlobalTracerProvider(new TracerProvider({ sampler: new AlwaysOffSampler() }));
  const calls = {
    untraced: caller(undefined),
    ratio: caller({ tracer, ratio: Number.MIN_VALUE }),
    sampler: caller({ tracer, ratio: 1 }),
    untracedWithContext: caller(undefined, UNSAMPLED),
    heeded: caller({ tracer, ratio: 1 }, UNSAMPLED),
  };
  const { untraced, ratio, sampler, untracedWithContext, heeded } = await cpuUs(calls, ms);
  return {
    in_process_us: alone,
    unsampled_call_cost_us: ratio - untraced,
    unsampled_by_program_cost_us: sampler - untraced,
    unsampled_by_caller_cost_us: heeded - untracedWithContext,
  };
}

process.send?.(await measure(Number(process.argv[2])));
