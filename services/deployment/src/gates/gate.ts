import { type GateLimit, isProbeMethod, type Manifest, parseGateLimit, parseGateRate } from "@hms/manifest";
import type { RolloutPolicy } from "../rollout-state.ts";

type WrittenGate = Manifest["gates"][number];

/** What a gate asks of one replica. */
export type ReplicaQuestion =
  | { readonly kind: "http" | "gve"; readonly path: string }
  | { readonly kind: "method"; readonly method: string }
  | { readonly kind: "tcp" }
  | { readonly kind: "grpc"; readonly service: string }
  | { readonly kind: "exec"; readonly command: string };

/** What a gate asks of somebody else, of the whole rollout. */
export interface WebhookQuestion {
  readonly kind: "webhook";
  readonly url: string;
}

/** What a gate asks of the mesh's counts. */
export interface MetricQuestion {
  readonly kind: "metric";
  readonly metric: "error_rate" | "latency" | "throughput";
  /** The most: a share of requests, or a time. */
  readonly max?: GateLimit;
  /** The least requests in a second. */
  readonly min?: number;
  /** 0 to 1. */
  readonly quantile: number;
  /** How much worse than the baseline it may be, 0.2: a fifth. */
  readonly beside?: number;
  /** The fewest requests that say something. */
  readonly sample: number;
}

/** One gate of a manifest. */
export interface Gate {
  readonly name: string;
  readonly at: "start" | "traffic";
  readonly everyMs: number;
  readonly timeoutMs: number;
  /** Looks that may fail. */
  readonly failures: number;
  readonly inconclusive: "wait" | "pass" | "fail";
  readonly asks: ReplicaQuestion | WebhookQuestion | MetricQuestion;
}

/** The gates of a manifest; those that older versions stored have none. */
export function gatesOf(manifest: Pick<Manifest, "gates">): Gate[] {
  return ((manifest as Partial<Manifest>).gates ?? []).map((written) => {
    const asks = questionOf(written);
    const { everyMs, timeoutMs, failures, inconclusive } = written;
    const at = written.at ?? (asks.kind === "metric" ? "traffic" : "start");
    return { name: written.name ?? nameOf(asks), at, everyMs, timeoutMs, failures, inconclusive, asks };
  });
}

function questionOf(gate: WrittenGate): Gate["asks"] {
  const { http, tcp, grpc, exec, gve, webhook } = gate;
  if (http !== undefined) return { kind: "http", path: http };
  if (gve !== undefined) return isProbeMethod(gve) ? { kind: "method", method: gve } : { kind: "gve", path: gve };
  if (tcp !== undefined) return { kind: "tcp" };
  if (grpc !== undefined) return { kind: "grpc", service: grpc };
  if (exec !== undefined) return { kind: "exec", command: exec };
  if (webhook !== undefined) return { kind: "webhook", url: webhook };
  return metricOf(gate);
}

function metricOf({ metric = "error_rate", max, min, beside, quantile, sample }: WrittenGate): MetricQuestion {
  const limit = max === undefined ? undefined : parseGateLimit(max);
  const least = min === undefined ? undefined : parseGateRate(min);
  return {
    kind: "metric",
    metric,
    quantile: quantile / 100,
    sample,
    ...(limit && { max: limit }),
    ...(least !== undefined && { min: least }),
    ...(beside !== undefined && { beside: beside / 100 }),
  };
}

/** How a gate without a name is called. */
function nameOf(asks: Gate["asks"]): string {
  switch (asks.kind) {
    case "http":
    case "gve":
      return `${asks.kind} ${asks.path}`;
    case "method":
      return `gve ${asks.method}`;
    case "tcp":
      return "tcp";
    case "grpc":
      return asks.service === "" ? "grpc" : `grpc ${asks.service}`;
    case "exec":
      return `exec ${asks.command.split(/\s/, 1)[0]?.slice(0, 40)}`;
    case "webhook":
      return `webhook ${new URL(asks.url).host}`;
    case "metric":
      return asks.metric;
  }
}

/** Whether a manifest's new versions are judged by what the mesh counts. */
export function countsMatter(manifest: Pick<Manifest, "gates">): boolean {
  return gatesOf(manifest).some(({ asks }) => asks.kind === "metric");
}

/** A replica may have to start a runtime before it can ask. */
const SLACK_MS = 10_000;

/** Which moments of a rollout gates are asked at. */
export function gatePlanOf(manifest: Manifest): Pick<RolloutPolicy, "gates"> {
  const gates = gatesOf(manifest);
  if (gates.length === 0) return {};
  const atStart = gates.filter(({ at }) => at === "start");
  const longest = Math.max(
    0,
    ...atStart.map(({ failures, timeoutMs, everyMs }) => (failures + 1) * timeoutMs + failures * everyMs),
  );
  const windows = manifest.gates.filter((_, index) => gates[index]?.at === "traffic").map(({ windowMs }) => windowMs);
  return {
    gates: {
      ...(atStart.length > 0 && { startLimitMs: longest + SLACK_MS }),
      ...(windows.length > 0 && { windowMs: Math.max(...windows) }),
    },
  };
}
