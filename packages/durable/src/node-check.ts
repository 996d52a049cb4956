import { type GraphNode, MOST_TARGETS } from "./graph.ts";

/** Hears of one problem. */
export type Report = (field: string, description: string) => void;

type Check = (value: unknown) => string | undefined;

const oneOf =
  (...words: string[]): Check =>
  (value) =>
    words.includes(value as string) ? undefined : `must be one of ${words.join(", ")}`;
const whole =
  (least: number, most: number): Check =>
  (value) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most
      ? undefined
      : `must be a whole number from ${least} to ${most}`;
const yesNo: Check = (value) => (typeof value === "boolean" ? undefined : "must be true or false");
const isText = (value: unknown): value is string => typeof value === "string" && value !== "";
const text: Check = (value) => (isText(value) ? undefined : "must be a text that is not empty");
const name: Check = (value) =>
  isText(value) && /^[A-Za-z0-9][A-Za-z0-9._/@-]{0,127}$/.test(value)
    ? undefined
    : "must be a name: up to 128 letters, digits and . _ / @ -, beginning with a letter or digit";
const anything: Check = () => undefined;
const WEEK_MS = 7 * 86_400_000;
/** More than there are targets is as good as all of them. */
const MOST_SHARE = 2 ** 31 - 1;
const share: Check = (value) => {
  if (whole(0, MOST_SHARE)(value) === undefined) return undefined;
  return isText(value) && /^(?:100|\d{1,2})%$/.test(value)
    ? undefined
    : `must be a whole number from 0 to ${MOST_SHARE}, or a part like "25%"`;
};
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const RETRY: Record<string, Check> = {
  max: whole(1, 100),
  backoff: oneOf("fixed", "exponential"),
  initial_ms: whole(0, WEEK_MS),
  max_delay_ms: whole(0, WEEK_MS),
};
const TARGETS: Record<string, Check> = {
  items: (value) => {
    if (isText(value)) return undefined;
    return Array.isArray(value) && value.length <= MOST_TARGETS
      ? undefined
      : `must be a list of at most ${MOST_TARGETS} values, or one expression \${{ … }}`;
  },
  batch: share,
  canary: whole(0, MOST_TARGETS),
  max_fail: share,
  pause_ms: whole(0, WEEK_MS),
  on_threshold: oneOf("stop", "pause"),
};
const NEED: Record<string, Check> = { node: text, on: oneOf("success", "failure", "always") };
const NODE: Record<keyof GraphNode, Check> = {
  kind: oneOf("step", "approval", "wait", "run"),
  needs: (value) => (Array.isArray(value) ? undefined : "must be a list of nodes"),
  join: (value) =>
    value === "all" ||
    value === "any" ||
    (isRecord(value) && whole(1, 2000)(value.n) === undefined && Object.keys(value).length === 1)
      ? undefined
      : 'must be "all", "any" or {n: NUMBER}',
  if: text,
  uses: name,
  with: anything,
  retry: anything,
  timeout_ms: whole(1, 366 * 86_400_000),
  effect: oneOf("idempotent", "resumable", "at_most_once"),
  targets: anything,
  queue: name,
  priority: whole(-100, 100),
  finally: yesNo,
  allow_failure: yesNo,
};

function checkRecord(
  value: unknown,
  checks: Record<string, Check>,
  { path, report }: { path: string; report: Report },
): boolean {
  if (!isRecord(value)) {
    report(path, `must be a map with ${Object.keys(checks).join(", ")}`);
    return false;
  }
  for (const [key, each] of Object.entries(value)) {
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
    const problem = check ? check(each) : `is not known here; known are ${Object.keys(checks).join(", ")}`;
    if (problem) report(`${path}.${key}`, problem);
  }
  return true;
}

/** Reports every problem that one node has by itself. */
export function checkNode(value: unknown, path: string, report: Report): void {
  if (!checkRecord(value, NODE, { path, report })) return;
  const node = value as GraphNode;
  checkNeeds(node, path, report);
  if (
    node.retry !== undefined &&
    checkRecord(node.retry, RETRY, { path: `${path}.retry`, report }) &&
    node.retry.max === undefined
  ) {
    report(`${path}.retry.max`, "is missing: say how many attempts may fail");
  }
  if (node.targets !== undefined && checkRecord(node.targets, TARGETS, { path: `${path}.targets`, report })) {
    if (node.targets.items === undefined) report(`${path}.targets.items`, "is missing: say what the targets are");
  }
  checkKind(node, path, report);
}

function checkNeeds(node: GraphNode, path: string, report: Report): void {
  const { needs = [], join } = node;
  if (!Array.isArray(needs)) return;
  for (const [index, need] of needs.entries()) {
    const at = { path: `${path}.needs[${index}]`, report };
    if (typeof need !== "string" && checkRecord(need, NEED, at) && need.node === undefined) {
      report(`${at.path}.node`, "is missing");
    }
  }
  if (typeof join === "object" && join !== null && join.n > needs.length) {
    report(`${path}.join`, `asks for ${join.n} of ${needs.length} edges: it could never begin`);
  }
  if (join !== undefined && needs.length === 0) report(`${path}.join`, "says how edges are joined, and there are none");
}

/** Fields that only steps have. */
const OF_STEPS = ["uses", "effect", "targets", "retry"] as const;

function checkKind(node: GraphNode, path: string, report: Report): void {
  const { kind = "step" } = node;
  if (kind === "step") {
    if (node.uses === undefined) report(`${path}.uses`, "is missing: name the executor");
    if (node.effect === undefined) {
      report(
        `${path}.effect`,
        "is missing: say idempotent, resumable or at_most_once; it decides what a crash may repeat",
      );
    }
    return;
  }
  for (const field of OF_STEPS) {
    if (node[field] !== undefined) report(`${path}.${field}`, `is for steps only; this is of kind ${kind}`);
  }
  if (kind === "wait" && node.timeout_ms === undefined)
    report(`${path}.timeout_ms`, "is missing: say how long to wait");
  if (kind === "run" && !isRecord(node.with)) report(`${path}.with`, "is missing: say {graph, inputs} of the run");
}
