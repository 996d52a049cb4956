import { type GraphNode, needCount, needsOf, type RunGraph } from "../graph.ts";

/** What a step of the tests does: so many attempts fail, and for the rest it succeeds. */
export interface ScriptedStep {
  readonly fails: number;
  /** The condition's value: a constant, or that a direct need has failed. */
  readonly when?: boolean | { readonly failed: string };
}

/** How a run must end. */
export interface ReferenceEnd {
  readonly state: "succeeded" | "failed";
  readonly nodes: { readonly [name: string]: "succeeded" | "failed" | "skipped" };
  /** Attempts of each node that runs, if nothing is lost. */
  readonly attempts: { readonly [name: string]: number };
}

type Script = (node: string) => ScriptedStep;

/**
 * Says how a graph must end, by looking at each node once all before it have ended: what the engine comes to in any order
 * of events, this says without any order. In memory, without time, leases or crashes.
 */
export function referenceEnd(graph: RunGraph, script: Script): ReferenceEnd {
  const nodes: Record<string, "succeeded" | "failed" | "skipped"> = {};
  const attempts: Record<string, number> = {};
  const left = new Map(Object.entries(graph.nodes));
  while (left.size > 0) {
    const next = [...left].find(([, node]) => needsOf(node).every((need) => need.node in nodes));
    if (!next) throw new Error("The graph has a circle.");
    const [name, node] = next;
    left.delete(name);
    nodes[name] = endOf(node, script(name), nodes);
    attempts[name] = attemptsOf(node, script(name), nodes[name]);
  }
  const hasFailed = Object.entries(nodes).some(
    ([name, state]) => state === "failed" && !graph.nodes[name]?.allow_failure,
  );
  return { state: hasFailed ? "failed" : "succeeded", nodes, attempts };
}

function endOf(node: GraphNode, { fails, when = true }: ScriptedStep, ends: ReferenceEnd["nodes"]) {
  const satisfied = needsOf(node).filter(({ node: before, on }) => {
    if (on === "always") return true;
    return ends[before] === (on === "success" ? "succeeded" : "failed");
  });
  if (satisfied.length < needCount(node)) return "skipped";
  const isWanted = typeof when === "boolean" ? when : ends[when.failed] === "failed";
  if (!isWanted) return "skipped";
  return fails >= (node.retry?.max ?? 1) ? "failed" : "succeeded";
}

function attemptsOf(node: GraphNode, { fails, when }: ScriptedStep, state: string): number {
  if (state === "skipped") return when === undefined ? 0 : 1;
  return state === "failed" ? (node.retry?.max ?? 1) : fails + 1;
}
