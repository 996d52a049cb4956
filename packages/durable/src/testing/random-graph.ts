import fc from "fast-check";
import type { EdgeCondition, Effect, GraphNode, Need, RunGraph } from "../graph.ts";
import type { ScriptedStep } from "./reference-scheduler.ts";

/** A graph with what its steps do. */
interface RandomCase {
  readonly graph: RunGraph;
  readonly script: { readonly [node: string]: ScriptedStep };
}

interface Draw {
  /** Earlier nodes, by how far back. */
  edges: { back: number; on: EdgeCondition }[];
  join: number;
  fails: number;
  retries: number;
  when: number;
  effect: Effect;
  allowFailure: boolean;
  isFinally: boolean;
}

const draw = (mostNodes: number, effects: readonly Effect[]) =>
  fc.array(
    fc.record<Draw>({
      edges: fc.array(
        fc.record({
          back: fc.integer({ min: 1, max: mostNodes }),
          on: fc.constantFrom<EdgeCondition>("success", "success", "failure", "always"),
        }),
        { maxLength: 4 },
      ),
      join: fc.integer({ min: 0, max: 5 }),
      fails: fc.constantFrom(0, 0, 0, 1, 2),
      retries: fc.integer({ min: 1, max: 3 }),
      when: fc.integer({ min: 0, max: 9 }),
      effect: fc.constantFrom(...effects),
      allowFailure: fc.boolean(),
      isFinally: fc.constantFrom(false, false, false, false, true),
    }),
    { minLength: 1, maxLength: mostNodes },
  );

/** Random graphs of up to `mostNodes` nodes: every join, condition, edge, retry, and nodes that run finally. */
export function randomCases(mostNodes = 12, effects: readonly Effect[] = ["idempotent", "resumable", "at_most_once"]) {
  return draw(mostNodes, effects).map(caseOf);
}

function caseOf(draws: Draw[]): RandomCase {
  const nodes: Record<string, GraphNode> = {};
  const script: Record<string, ScriptedStep> = {};
  for (const [index, drawn] of draws.entries()) {
    const name = `n${index}`;
    const isFinally = drawn.isFinally && index > 0;
    const needs = edgesOf(index, drawn, (before) => Boolean(nodes[before]?.finally) === isFinally);
    const join = joinOf(drawn.join, needs.length);
    const when = whenOf(drawn.when, join === "all" ? needs[0]?.node : undefined);
    nodes[name] = {
      ...stepOf(drawn),
      ...(needs.length > 0 ? { needs, join } : {}),
      ...conditionOf(when),
      finally: isFinally,
    };
    script[name] = { fails: drawn.fails, ...(when === undefined ? {} : { when }) };
  }
  return { graph: { nodes }, script };
}

function edgesOf(index: number, { edges }: Draw, fits: (name: string) => boolean): Required<Need>[] {
  const own = new Map(edges.filter(({ back }) => back <= index).map(({ back, on }) => [`n${index - back}`, on]));
  return [...own].filter(([node]) => fits(node)).map(([node, on]) => ({ node, on }));
}

const stepOf = (drawn: Draw): GraphNode => ({
  uses: "scripted",
  effect: drawn.effect,
  retry: { max: drawn.retries, backoff: "fixed", initial_ms: 1 },
  with: { fails: drawn.fails, input: "${{ inputs.word }}" },
  allow_failure: drawn.allowFailure,
});

const conditionOf = (when: ScriptedStep["when"]) => (when === undefined ? {} : { if: conditionText(when) });

function joinOf(drawn: number, edges: number): GraphNode["join"] & ("all" | "any" | { n: number }) {
  if (drawn < 3 || edges === 0) return "all";
  return drawn === 3 ? "any" : { n: Math.min(edges, drawn - 2) };
}

function whenOf(drawn: number, need: string | undefined): ScriptedStep["when"] {
  if (drawn === 0) return false;
  if (drawn === 1) return true;
  return drawn === 2 && need ? { failed: need } : undefined;
}

const conditionText = (when: Exclude<ScriptedStep["when"], undefined>) =>
  typeof when === "boolean" ? `inputs.word == "${when ? "yes" : "no"}"` : `nodes.${when.failed}.state == "failed"`;
