import { type EdgeCondition, needsOf, type RunGraph } from "./graph.ts";
import type { Json } from "./json.ts";
import { type PlannedTask, planTasks } from "./task-plan.ts";

/** A node and all that come after it. */
export function andAfter(graph: RunGraph, from: string): Set<string> {
  const found = new Set([from]);
  for (let before = 0; before !== found.size; ) {
    before = found.size;
    for (const [name, node] of Object.entries(graph.nodes)) {
      if (needsOf(node).some((need) => found.has(need.node))) found.add(name);
    }
  }
  return found;
}

/** The rows of a run in which these nodes are done, with their outputs; what runs finally is done again. */
export function carryOn(graph: RunGraph, done: ReadonlyMap<string, Json>): PlannedTask[] {
  const tasks = new Map(planTasks(graph).map((task) => [task.node, task]));
  const ended: PlannedTask[] = [];
  for (const [name, output] of done) {
    const task = tasks.get(name);
    if (task && !task.is_finally) ended.push(Object.assign(task, { state: "succeeded", output } as const));
  }
  for (let task = ended.pop(); task; task = ended.pop()) {
    for (const [index, name] of task.successors.entries()) {
      const next = tasks.get(name);
      if (next?.state === "blocked" && isSkipped(next, task, task.conditions[index] as EdgeCondition)) ended.push(next);
    }
  }
  return [...tasks.values()];
}

/** Takes an edge into account; true if the node can only be skipped now. */
function isSkipped(next: PlannedTask, before: PlannedTask, condition: EdgeCondition): boolean {
  next.pending -= 1;
  if (condition === "always" || (condition === "success" && before.state === "succeeded")) next.satisfied += 1;
  if (next.satisfied >= next.need) next.state = "ready";
  else if (next.satisfied + next.pending < next.need) next.state = "skipped";
  return next.state === "skipped";
}
