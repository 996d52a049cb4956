import { parseGateLimit } from "./gate-texts.ts";
import type { Manifest } from "./manifest-schema.ts";

type Gate = Manifest["gates"][number];
type Problem = [key: string, description: string];

const KINDS = ["http", "tcp", "grpc", "exec", "gve", "webhook", "metric"] as const;
const OF_METRICS = ["max", "min", "quantile", "beside", "sample"] as const;

/** What is wrong between the keys of gates that are each right by themselves. */
export function gateProblems(gates: readonly Gate[], given: ReadonlyMap<string, unknown>): Problem[] {
  return gates.flatMap((gate, index) => {
    // What could not be read has been reported already.
    if (Object.values(gate).some((value) => typeof value === "symbol")) return [];
    const at = `gates[${index}]`;
    const isGiven = (key: string) => given.has(`${at}.${key}`);
    const twin = gates.findIndex(({ name }) => name !== undefined && name === gate.name);
    return [
      ...kindProblems(gate, at),
      ...(gate.metric === undefined ? probeProblems(at, isGiven) : metricProblems(gate, at, isGiven)),
      ...(gate.name !== undefined && twin < index
        ? [said(`${at}.name`, `The gate at position ${twin + 1} is called ${gate.name} already. Choose another name`)]
        : []),
    ];
  });
}

function kindProblems(gate: Gate, at: string): Problem[] {
  const kinds = KINDS.filter((kind) => gate[kind] !== undefined);
  if (kinds.length === 0) return [said(at, `This asks nothing. Write one of ${KINDS.join(", ")}`)];
  const [first, second] = kinds;
  if (second === undefined) return [];
  return [said(`${at}.${second}`, `A gate asks one thing, and this one has ${first} too. Make two gates of it`)];
}

function probeProblems(at: string, isGiven: (key: string) => boolean): Problem[] {
  return OF_METRICS.filter(isGiven).map((key) =>
    said(
      `${at}.${key}`,
      `${key} belongs to a metric, and this gate has none. Add metric: error_rate, or remove ${key}`,
    ),
  );
}

function metricProblems(gate: Gate, at: string, isGiven: (key: string) => boolean): Problem[] {
  const isEarly = gate.at === "start";
  return [
    ...(isEarly
      ? [said(`${at}.at`, "Before the first request there is nothing to count. Remove at, or write traffic")]
      : []),
    ...(gate.metric === "throughput" ? throughputProblems(gate, at, isGiven) : limitProblems(gate, at, isGiven)),
  ];
}

function throughputProblems({ min }: Gate, at: string, isGiven: (key: string) => boolean): Problem[] {
  const problems = ["max", "beside", "quantile"]
    .filter(isGiven)
    .map((key) => said(`${at}.${key}`, `throughput has a min and no ${key}. Remove ${key}`));
  if (min === undefined) problems.push(said(at, "throughput needs the least that is enough. Add min: 5/s"));
  return problems;
}

function limitProblems({ metric, max, beside }: Gate, at: string, isGiven: (key: string) => boolean): Problem[] {
  const problems: Problem[] = [];
  const limit = max === undefined ? undefined : parseGateLimit(max);
  if (max === undefined && beside === undefined) {
    const example = metric === "error_rate" ? "max: 1%" : "max: 250ms";
    problems.push(said(at, `${metric} needs a limit. Add ${example}, or beside: 20`));
  }
  if (limit && metric === "error_rate" && !("share" in limit)) {
    problems.push(said(`${at}.max`, "error_rate is a share of the requests. Write a percentage: 1%"));
  }
  if (limit && metric === "latency" && !("ms" in limit)) {
    problems.push(said(`${at}.max`, "latency is a time. Write a duration: 250ms"));
  }
  if (isGiven("min")) problems.push(said(`${at}.min`, `${metric} has a max and no min. Remove min`));
  if (metric === "error_rate" && isGiven("quantile")) {
    problems.push(said(`${at}.quantile`, "Only latency has quantiles. Remove quantile"));
  }
  return problems;
}

const said = (key: string, description: string): Problem => [key, description];
