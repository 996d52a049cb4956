import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { deployment } from "@hms/contracts";
import type { ServiceRecord } from "../service-record.ts";
import type { ScalingNote } from "../tables.ts";
import { ruleOf } from "./auto-scaler.ts";
import type { ScaledService } from "./scaled-service.ts";
import type { ScalingRule } from "./scaling-rule.ts";

type Explanation = MessageInitShape<typeof deployment.ExplainScalingResponseSchema>;

const { ScalingMode } = deployment;
const HOUR_MS = 3_600_000;

/** What is known of a service's scaling. */
export interface ScalingFacts {
  record: ServiceRecord;
  ready: number;
  scaled: ScaledService | undefined;
  decisions: readonly ScalingNote[];
}

/** Says how a service follows its load, or why it does not. */
export function explainScaling({ record, ready, scaled, decisions }: ScalingFacts): Explanation {
  const rule = ruleOf(record);
  const { mode, reasons } = modeOf(record, rule);
  const { min = 0, max = 0 } = record.revisions.get(record.currentRevision)?.manifest.scaling ?? {};
  const follows = scaled && rule ? [...reasons, ...stateOf(record, scaled)] : reasons;
  return {
    mode,
    modeReasons: follows,
    replicas: record.wanted,
    ready,
    min,
    max,
    policy: rule?.by ?? "",
    ...(scaled ? figuresOf(scaled) : undefined),
    maxReplicaHours: rule?.maxReplicaHours ?? 0,
    decisions: decisions.map(({ at, ...note }) => ({ ...note, at: timestampFromMs(at) })),
  };
}

function modeOf(record: ServiceRecord, rule: ScalingRule | undefined) {
  const { service, scaledTo, wanted, asleep, currentRevision } = record;
  if (currentRevision === 0 || (wanted === 0 && !asleep)) {
    return {
      mode: ScalingMode.STOPPED,
      reasons: ["It does not run, and no load starts it. Deploy it, or restart it."],
    };
  }
  if (rule === undefined) {
    const how = "Write scaling.max, more than scaling.min, in the manifest to let the load decide in between.";
    return { mode: ScalingMode.OFF, reasons: [`Nothing but hms-sys scale changes the number of replicas. ${how}`] };
  }
  if (scaledTo !== undefined) {
    const back = `hms-sys scale ${service} auto gives it back to the load.`;
    return {
      mode: ScalingMode.PINNED,
      reasons: [`A person has set ${scaledTo}, and the load changes nothing. ${back}`],
    };
  }
  return { mode: ScalingMode.AUTOMATIC, reasons: [`The load decides, by ${rule.by}.`] };
}

/** What holds it up now, and what would make it change. */
function stateOf(record: ServiceRecord, scaled: ScaledService): string[] {
  const { decision, rule, pause } = scaled;
  if (decision === undefined) return ["Its load has not been seen yet: look again in a few seconds."];
  const target = decision.recommendation.figures.target;
  const size = record.wanted;
  const held = [
    ...(record.running ? [`Rollout ${record.running.rolloutId} runs, and nothing changes before it has ended.`] : []),
    ...(pause.isOver(Date.now()) ? [] : ["The last change failed, so the next one is tried after a pause."]),
  ];
  if (rule.by === "cpu" || target === undefined) return held;
  const up = `One more from ${round(size * target)} requests at once over 60 s, or at once from ${round(target * (2 * Math.max(1, size) - 1))} over 6 s.`;
  const down = size > 1 ? [`One fewer from ${round((size - 1) * target)} down.`] : [];
  return [...held, ...(size < rule.max ? [up] : []), ...(size > rule.min ? down : [])];
}

function figuresOf({ sample, decision, use }: ScaledService) {
  const figures = decision?.recommendation.figures ?? {};
  return {
    concurrency: sample?.concurrency ?? 0,
    stableConcurrency: figures.stable ?? 0,
    panicConcurrency: figures.panic ?? 0,
    targetConcurrency: figures.target ?? 0,
    panicking: figures.panicking === 1,
    ...(sample?.cpu === undefined ? {} : { cpu: sample.cpu }),
    recommended: decision?.recommendation.replicas ?? 0,
    desired: decision?.to ?? 0,
    why: decision?.recommendation.why ?? "",
    limits: [...(decision?.limits ?? [])],
    replicaHoursToday: (use?.replicaMs ?? 0) / HOUR_MS,
  };
}

const round = (value: number) => Number(value.toFixed(1));
