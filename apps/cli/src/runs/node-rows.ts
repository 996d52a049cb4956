import { automationRuns } from "@hms/contracts";
import { enumWord } from "../output/human.ts";
import type { Painter } from "../output/painter.ts";

const { NodeState } = automationRuns;

/** What is known of a node while a run is followed. */
export interface ShownNode {
  readonly node: string;
  readonly target: string;
  readonly needs: readonly string[];
  readonly uses: string;
  readonly kind: string;
  state: automationRuns.NodeState;
  attempt: number;
}

const MARKS: ReadonlyMap<automationRuns.NodeState, string> = new Map([
  [NodeState.SUCCEEDED, "✓"],
  [NodeState.FAILED, "✗"],
  [NodeState.SKIPPED, "–"],
  [NodeState.CANCELLED, "⊘"],
  [NodeState.RUNNING, "▶"],
  [NodeState.NEEDS_DECISION, "?"],
  [NodeState.WAITING, "…"],
]);

/** A state's sign and word, coloured. */
export function nodeStateWord(state: automationRuns.NodeState, paint: Painter): string {
  const text = `${MARKS.get(state) ?? "·"} ${enumWord(NodeState, state)}`;
  if (state === NodeState.SUCCEEDED) return paint.good(text);
  if (state === NodeState.FAILED) return paint.bad(text);
  if (state === NodeState.RUNNING) return paint.strong(text);
  return state === NodeState.NEEDS_DECISION || state === NodeState.WAITING ? paint.warn(text) : paint.dim(text);
}

/** Nodes in an order in which none stands before one that it needs, with how deep each is; targets below their node. */
export function asTree(nodes: readonly ShownNode[]): { node: ShownNode; depth: number }[] {
  const own = nodes.filter(({ target }) => target === "");
  const depths = new Map<string, number>();
  const depthOf = (name: string): number => {
    const known = depths.get(name);
    if (known !== undefined) return known;
    depths.set(name, 0);
    const needs = own.find(({ node }) => node === name)?.needs ?? [];
    const depth = Math.max(-1, ...needs.map(depthOf)) + 1;
    depths.set(name, depth);
    return depth;
  };
  return ordered(own).flatMap((node) => {
    const depth = depthOf(node.node);
    const targets = nodes.filter((one) => one.node === node.node && one.target !== "" && isWorthShowing(one));
    return [{ node, depth }, ...targets.map((target) => ({ node: target, depth: depth + 1 }))];
  });
}

/** Of many targets those are shown that are neither done nor to come. */
const isWorthShowing = ({ state }: ShownNode) =>
  ![NodeState.SUCCEEDED, NodeState.HELD, NodeState.READY, NodeState.PARKED, NodeState.SKIPPED].includes(state as never);

/** Depth first: what only one node needs comes right below it. */
function ordered(nodes: readonly ShownNode[]): ShownNode[] {
  const placed = new Set<string>();
  const rows: ShownNode[] = [];
  const place = (node: ShownNode) => {
    if (placed.has(node.node) || node.needs.some((need) => !placed.has(need))) return;
    placed.add(node.node);
    rows.push(node);
    for (const next of nodes) if (next.needs.includes(node.node)) place(next);
  };
  for (const node of nodes) place(node);
  return rows;
}

/** One line of the tree. */
export function treeLine({ node, depth }: { node: ShownNode; depth: number }, paint: Painter): string {
  const name = node.target === "" ? node.node : node.target;
  const what = node.target === "" && node.kind !== "step" ? ` (${node.kind})` : "";
  const again = node.attempt > 1 ? paint.dim(` attempt ${node.attempt}`) : "";
  return `${"  ".repeat(depth)}${nodeStateWord(node.state, paint)} ${name}${what}${again}`;
}
