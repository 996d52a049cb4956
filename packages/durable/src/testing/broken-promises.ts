import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { type GraphNode, needsOf, type RunGraph } from "../graph.ts";
import { type ReferenceEnd, referenceEnd, type ScriptedStep } from "./reference-scheduler.ts";

/** One effect of a step, as it was left outside of the database. */
interface EffectLine {
  readonly node: string;
  readonly isFailing: boolean;
}

/** The effects in a file of scriptedStep(), in their order. */
export function effectsOf(file: string): EffectLine[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => effectOf(line).effect);
}

function effectOf(line: string): { run: string; effect: EffectLine } {
  const [run = "", node = "", , , , , isFailing] = line.split(" ");
  return { run, effect: { node, isFailing: isFailing === "true" } };
}

/** The effects of many runs in one file that grows: each line is read once. */
export class EffectsByRun {
  readonly #file: string;
  readonly #runs = new Map<string, EffectLine[]>();
  #at = 0;
  #rest = "";

  constructor(file: string) {
    this.#file = file;
  }

  /** The effects of a run so far, in their order. */
  of(run: string): readonly EffectLine[] {
    this.#readOn();
    return this.#runs.get(run) ?? [];
  }

  #readOn(): void {
    if (!existsSync(this.#file)) return;
    const descriptor = openSync(this.#file, "r");
    const bytes = Buffer.alloc(fstatSync(descriptor).size - this.#at);
    const read = readSync(descriptor, bytes, 0, bytes.length, this.#at);
    closeSync(descriptor);
    this.#at += read;
    const lines = `${this.#rest}${bytes.subarray(0, read)}`.split("\n");
    this.#rest = lines.pop() ?? "";
    for (const { run, effect } of lines.map(effectOf)) {
      const own = this.#runs.get(run) ?? [];
      own.push(effect);
      this.#runs.set(run, own);
    }
  }
}

/** What a run came to, and what its steps left. */
interface RunOutcome {
  readonly graph: RunGraph;
  readonly state: string;
  readonly nodes: { readonly [name: string]: string };
  readonly effects: readonly EffectLine[];
  /** How often a step may have lost its worker; default 1. */
  readonly losses?: number;
  /** Nodes that somebody has decided to do again although a (failing) effect was there, once for each time. */
  readonly repeats?: readonly string[];
  /** Default: what the nodes' inputs say. */
  readonly script?: (node: string) => ScriptedStep;
}

/** What contradicts the reference scheduler, or a step's declared effect, or the order of the graph. */
export function brokenPromises(outcome: RunOutcome): string[] {
  const { graph, state, nodes, effects } = outcome;
  const script = outcome.script ?? ((name) => ({ fails: 0, ...(graph.nodes[name]?.with as object) }));
  const expected = referenceEnd(graph, script);
  const ends = Object.entries(expected.nodes).filter(([name, end]) => nodes[name] !== end);
  return [
    ...(state === expected.state ? [] : [`the run ended as ${state}, not ${expected.state}`]),
    ...ends.map(([name, end]) => `${name} ended as ${nodes[name]}, not ${end}`),
    ...Object.entries(graph.nodes).flatMap(([name, node]) => brokenEffects({ name, node, expected, outcome })),
    ...brokenOrder(
      graph,
      effects.map((effect) => effect.node),
    ),
  ];
}

interface NodeOutcome {
  name: string;
  node: GraphNode;
  expected: ReferenceEnd;
  outcome: RunOutcome;
}

function brokenEffects({
  name,
  node,
  expected,
  outcome: { effects, losses = 1, repeats = [] },
}: NodeOutcome): string[] {
  const count = effects.filter((effect) => effect.node === name).length;
  const least = expected.nodes[name] === "skipped" ? 0 : (expected.attempts[name] ?? 0);
  const decided = repeats.filter((each) => each === name).length;
  const most = node.effect === "at_most_once" || least === 0 ? least + decided : least + losses + decided;
  return count >= least && count <= most
    ? []
    : [`${name} (${node.effect}) has ${count} effects, ${least} to ${most} may be`];
}

function brokenOrder(graph: RunGraph, order: readonly string[]): string[] {
  return Object.entries(graph.nodes).flatMap(([name, node]) => {
    if ((node.join ?? "all") !== "all" || !order.includes(name)) return [];
    const late = needsOf(node).filter(
      (need) => order.includes(need.node) && order.indexOf(need.node) > order.indexOf(name),
    );
    return late.map((need) => `${name} was done before ${need.node}`);
  });
}
