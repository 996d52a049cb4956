import { type FieldViolation, HmsError } from "@hms/kernel/errors";
import { isTopicPattern } from "./topic.ts";

/** Where reading begins: with what is published from now on, the oldest event there is, a position, or a time. */
export type StartFrom = "new" | "start" | { position: number } | { time: Date };

/** What to subscribe to, and how. */
export interface SubscribeOptions {
  /** Topics, with `*` for one part and `**` at the end for one or more: "hms.sys.*.rollout.**". */
  topics: readonly string[];
  /** Members of a group share its events, and the group remembers how far it is. Default: none, see subscribe(). */
  group?: string;
  /** Only events of this environment; the group is that environment's own. Default: the events of all. */
  environment?: string;
  /** Where a new group, or a subscription without one, begins; default "new". */
  from?: StartFrom;
  /** "key" (default): events of one partition key come in their order. "none": any event to any member, side by side. */
  ordering?: "key" | "none";
  /** Into how many shards the keys are divided, for ever; 1 = total order. Default 16. */
  shards?: number;
  /** How many handlers run at once in this process; default 16. With "key" no more than there are shards. */
  concurrency?: number;
  /** How long a handler may take before the event counts as failed; default 30 000. */
  ackWaitMs?: number;
  /** How often an event is delivered before it becomes a dead letter; default 5. */
  maxDeliver?: number;
  /** The pause before each new delivery; the last one repeats. Default 100, 1000, 5000, 30 000. */
  backoffMs?: readonly number[];
  /** How long a process that has died keeps its shards; default 5000. */
  leaseMs?: number;
  /** Closes the subscription. */
  signal?: AbortSignal;
}

/** Options with every default filled in. */
export interface SubscriptionSettings {
  topics: readonly string[];
  environment: string;
  from: StartFrom;
  ordering: "key" | "none";
  shards: number;
  concurrency: number;
  ackWaitMs: number;
  maxDeliver: number;
  backoffMs: readonly number[];
  leaseMs: number;
}

const GROUP = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$/;
const DEFAULT_BACKOFF_MS = [100, 1000, 5000, 30_000] as const;
const LONGEST_WAIT_MS = 24 * 3_600_000;

function numberProblems(settings: SubscriptionSettings): FieldViolation[] {
  const limits: [keyof SubscriptionSettings, number, number][] = [
    ["shards", 1, 1024],
    ["concurrency", 1, 1000],
    ["ackWaitMs", 1, LONGEST_WAIT_MS],
    ["maxDeliver", 1, 1000],
    ["leaseMs", 100, LONGEST_WAIT_MS],
  ];
  return limits.flatMap(([field, least, most]) => {
    const value = settings[field] as number;
    if (Number.isInteger(value) && value >= least && value <= most) return [];
    return [{ field, description: `is ${value}; it is an integer from ${least} to ${most}.` }];
  });
}

function problemsOf(settings: SubscriptionSettings, group: string | undefined): FieldViolation[] {
  const problems = numberProblems(settings);
  if (settings.topics.length === 0) problems.push({ field: "topics", description: 'is empty; "**" is everything.' });
  for (const topic of settings.topics) {
    if (isTopicPattern(topic)) continue;
    const description = `has "${topic}": write parts divided by dots, * for one part, ** at the end for the rest.`;
    problems.push({ field: "topics", description });
  }
  if (group !== undefined && !GROUP.test(group)) {
    const description = `is "${group}"; use up to 100 letters, digits and . _ / -, beginning with a letter or digit.`;
    problems.push({ field: "group", description });
  }
  if (settings.backoffMs.length === 0 || settings.backoffMs.some((ms) => !(ms >= 0 && ms <= LONGEST_WAIT_MS))) {
    problems.push({ field: "backoffMs", description: `has pauses from 0 to ${LONGEST_WAIT_MS} ms, at least one.` });
  }
  return problems;
}

/** Fills in defaults. @throws HmsError INVALID_ARGUMENT with every problem. */
export function subscriptionSettings(options: SubscribeOptions): SubscriptionSettings {
  const ordering = options.ordering ?? "key";
  const settings: SubscriptionSettings = {
    topics: options.topics,
    environment: options.environment ?? "",
    from: options.from ?? "new",
    ordering,
    shards: ordering === "none" ? 1 : (options.shards ?? 16),
    concurrency: options.concurrency ?? 16,
    ackWaitMs: options.ackWaitMs ?? 30_000,
    maxDeliver: options.maxDeliver ?? 5,
    backoffMs: options.backoffMs ?? DEFAULT_BACKOFF_MS,
    leaseMs: options.leaseMs ?? 5000,
  };
  const problems = problemsOf(settings, options.group);
  if (problems.length === 0) return settings;
  const list = problems.map(({ field, description }) => `${field} ${description}`).join(" ");
  throw new HmsError("INVALID_ARGUMENT", `This subscription cannot be made: ${list}`, {
    reason: "INVALID_SUBSCRIPTION",
    fieldViolations: problems,
  });
}

/** The pause after the given number of failed deliveries. */
export function backoffAfter(backoffMs: readonly number[], attempts: number): number {
  return backoffMs[Math.min(attempts, backoffMs.length) - 1] ?? 0;
}
