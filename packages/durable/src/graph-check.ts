import { type FieldViolation, HmsError } from "@hms/kernel/errors";
import { parseExpression } from "./expression.ts";
import { type GraphNode, needsOf, type RunGraph } from "./graph.ts";
import { checkNode, type Report } from "./node-check.ts";
import { templateReads } from "./template.ts";

const MOST_NODES = 2000;
const NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,62}$/;

/**
 * Checks a graph whole: its shape, names, edges, cycles, and every expression.
 * @throws HmsError INVALID_ARGUMENT with all problems, each with its path.
 */
export function checkGraph(graph: unknown): RunGraph {
  const problems = graphProblems(graph);
  if (problems.length === 0) return graph as RunGraph;
  const list = problems.map(({ field, description }) => `  ${field}: ${description}`).join("\n");
  throw new HmsError("INVALID_ARGUMENT", `The graph cannot run:\n${list}`, {
    reason: "INVALID_GRAPH",
    fieldViolations: problems,
  });
}

/** Every problem of a graph. */
function graphProblems(graph: unknown): FieldViolation[] {
  const problems: FieldViolation[] = [];
  const report: Report = (field, description) => void problems.push({ field, description });
  const nodes = nodesOf(graph, report);
  if (!nodes) return problems;
  for (const [name, node] of Object.entries(nodes)) {
    if (!NAME.test(name)) {
      report(`nodes.${name}`, "is not a name: up to 63 letters, digits, _ and -, beginning with a letter or _");
    }
    checkNode(node, `nodes.${name}`, report);
  }
  // Edges and expressions of nodes that are none say nothing more.
  if (problems.length > 0) return problems;
  const known = nodes as Record<string, GraphNode>;
  checkEdges(known, report);
  if (problems.length > 0) return problems;
  const before = checkCycles(known, report);
  if (problems.length === 0) checkExpressions(known, before, report);
  return problems;
}

function nodesOf(graph: unknown, report: Report): Record<string, unknown> | undefined {
  const { nodes, ...others } = typeof graph === "object" && graph !== null ? (graph as Record<string, unknown>) : {};
  for (const key of Object.keys(others)) report(key, 'is not known here; a graph has only "nodes"');
  if (typeof nodes !== "object" || nodes === null || Array.isArray(nodes)) {
    report("nodes", "must be a map of nodes by their names");
    return undefined;
  }
  const count = Object.keys(nodes).length;
  if (count === 0) report("nodes", "is empty; a run has at least one node");
  if (count > MOST_NODES)
    report("nodes", `has ${count} nodes, more than ${MOST_NODES}: use targets, or runs within runs`);
  return count > MOST_NODES ? undefined : (nodes as Record<string, unknown>);
}

function checkEdges(nodes: Record<string, GraphNode>, report: Report): void {
  for (const [name, node] of Object.entries(nodes)) {
    const seen = new Set<string>();
    for (const [index, need] of needsOf(node).entries()) {
      const path = `nodes.${name}.needs[${index}]`;
      if (seen.has(need.node)) report(path, `names "${need.node}" a second time: write one edge with one "on"`);
      seen.add(need.node);
      const problem = edgeProblem(need.node, node, Object.hasOwn(nodes, need.node) ? nodes[need.node] : undefined);
      if (problem) report(path, problem);
    }
  }
  if (Object.values(nodes).every((node) => node.finally))
    report("nodes", "all run finally; there is nothing before them");
}

function edgeProblem(name: string, node: GraphNode, before: GraphNode | undefined): string | undefined {
  if (!before) return `names "${name}", which is not a node of this graph`;
  return Boolean(before.finally) === Boolean(node.finally) ? undefined : mixedFinally(name, before);
}

const mixedFinally = (name: string, other: GraphNode) =>
  other.finally
    ? `"${name}" runs finally, after all others: only nodes that run finally can need it`
    : `"${name}" does not run finally: nodes that do begin after all others anyway and need only one another`;

/** Gives for each node all nodes before it (Kahn, 1962). */
function checkCycles(nodes: Record<string, GraphNode>, report: Report): Map<string, Set<string>> {
  const before = new Map<string, Set<string>>();
  const waiting = new Map(
    Object.entries(nodes).map(([name, node]) => [name, new Set(needsOf(node).map((n) => n.node))]),
  );
  const successors = new Map<string, string[]>();
  for (const [name, needs] of waiting) {
    for (const need of needs) successors.set(need, [...(successors.get(need) ?? []), name]);
  }
  const free = [...waiting].filter(([, needs]) => needs.size === 0).map(([name]) => name);
  for (let name = free.pop(); name !== undefined; name = free.pop()) {
    const direct = needsOf(nodes[name] as GraphNode).map((need) => need.node);
    before.set(name, new Set(direct.flatMap((each) => [each, ...(before.get(each) ?? [])])));
    waiting.delete(name);
    for (const next of successors.get(name) ?? []) {
      waiting.get(next)?.delete(name);
      if (waiting.get(next)?.size === 0) free.push(next);
    }
  }
  const inCycle = [...waiting.keys()];
  if (inCycle.length > 0) report("nodes", `wait for one another in a circle: ${inCycle.sort().join(", ")}`);
  return before;
}

function checkExpressions(nodes: Record<string, GraphNode>, before: Map<string, Set<string>>, report: Report): void {
  for (const [name, node] of Object.entries(nodes)) {
    const path = `nodes.${name}`;
    for (const read of readsOf(node, path, report)) {
      // Whatever runs finally sees all that came before.
      const isBefore =
        before.get(name)?.has(read) || (node.finally && Object.hasOwn(nodes, read) && !nodes[read]?.finally);
      if (!isBefore) {
        report(path, `looks at nodes.${read}, which does not come before it: add "${read}" to its needs, or to theirs`);
      }
    }
  }
}

const ignore: Report = () => {};

/** The nodes that a node's expressions look at. */
export function readsOf(node: GraphNode, path = "", report: Report = ignore): string[] {
  const reads = templateReads(node.with ?? null, `${path}.with`, report);
  if (node.if !== undefined) {
    try {
      reads.push(...parseExpression(node.if).reads);
    } catch (error) {
      report(`${path}.if`, (error as Error).message);
    }
  }
  reads.push(...templateReads(node.targets?.items ?? null, `${path}.targets.items`, report));
  return [...new Set(reads)];
}
