import { type GraphNode, needCount, needsOf, type RunGraph } from "./graph.ts";
import type { Json } from "./json.ts";

/** The row of a node as a run starts. */
export interface PlannedTask {
  node: string;
  kind: string;
  queue: string;
  priority: number | undefined;
  state: "ready" | "blocked" | "held" | "succeeded" | "skipped";
  need: number;
  satisfied: number;
  pending: number;
  successors: string[];
  conditions: string[];
  is_finally: boolean;
  allow_failure: boolean;
  effect: string;
  spec: GraphNode;
  /** Of a node that is done already. */
  output?: Json;
}

/** The queue of what the engine does itself: it starts waits and runs within runs. */
const ENGINE_QUEUE = "default";

function stateOf(node: GraphNode): PlannedTask["state"] {
  if (node.finally) return "held";
  return node.needs?.length ? "blocked" : "ready";
}

/** The rows of all nodes of a graph that has been checked. */
export function planTasks({ nodes }: RunGraph): PlannedTask[] {
  const tasks = new Map<string, PlannedTask>();
  for (const [name, node] of Object.entries(nodes)) {
    tasks.set(name, {
      node: name,
      kind: node.kind ?? "step",
      queue: node.queue ?? ENGINE_QUEUE,
      priority: node.priority,
      state: stateOf(node),
      need: needCount(node),
      satisfied: 0,
      pending: node.needs?.length ?? 0,
      successors: [],
      conditions: [],
      is_finally: node.finally ?? false,
      allow_failure: node.allow_failure ?? false,
      // What the engine does itself may be begun again: it leaves nothing behind but its own rows.
      effect: node.effect ?? "idempotent",
      spec: node,
    });
  }
  for (const [name, node] of Object.entries(nodes)) {
    for (const { node: before, on } of needsOf(node)) {
      const task = tasks.get(before);
      task?.successors.push(name);
      task?.conditions.push(on);
    }
  }
  return [...tasks.values()];
}
