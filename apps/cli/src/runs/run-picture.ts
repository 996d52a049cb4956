import { automationRuns } from "@hms/contracts";
import type { ShownNode } from "./node-rows.ts";

const { NodeState, RunState } = automationRuns;

const keyOf = ({ node, target }: { node: string; target: string }) => `${node}\0${target}`;

/** Types of events that say another state than their own word. */
const OTHER_WORDS: Readonly<Record<string, keyof typeof NodeState>> = {
  retrying: "WAITING",
  released: "READY",
};

/** What a follower knows of a run: how it stood, and what has happened since. */
export class RunPicture {
  readonly #nodes = new Map<string, ShownNode>();
  state: automationRuns.RunState = RunState.UNSPECIFIED;
  /** The number of the last event that it has. */
  seq = "";

  get nodes(): ShownNode[] {
    return [...this.#nodes.values()];
  }

  /** True once nothing more comes. */
  get hasEnded(): boolean {
    return this.state >= RunState.SUCCEEDED;
  }

  take({ update }: automationRuns.WatchRunResponse): void {
    if (update.case === "snapshot") this.#takeRun(update.value);
    if (update.case === "running") this.#takeRunning(update.value.nodes);
    if (update.case === "event") this.#takeEvent(update.value);
  }

  #takeRun(run: automationRuns.Run): void {
    this.state = run.state;
    this.seq = run.lastEvent;
    this.#nodes.clear();
    for (const one of run.nodes) this.#nodes.set(keyOf(one), { ...one });
  }

  #takeRunning(running: readonly automationRuns.RunNode[]): void {
    const now = new Map(running.map((one) => [keyOf(one), one]));
    for (const [key, node] of this.#nodes) {
      const one = now.get(key);
      if (one) Object.assign(node, { state: NodeState.RUNNING, attempt: one.attempt });
      else if (node.state === NodeState.RUNNING) node.state = NodeState.READY;
    }
    for (const [key, one] of now) if (!this.#nodes.has(key)) this.#nodes.set(key, { ...one });
  }

  #takeEvent(event: automationRuns.RunEvent): void {
    this.seq = event.seq;
    const [kind = "", word = ""] = event.type.split(".");
    if (kind === "run") {
      const state = RunState[word.toUpperCase() as keyof typeof RunState];
      if (state !== undefined) this.state = state;
      return;
    }
    const key = keyOf(event);
    const node = this.#nodes.get(key) ?? { ...newTarget, node: event.node, target: event.target };
    this.#nodes.set(key, node);
    const told = dataState(event) ?? word.toUpperCase();
    const state = NodeState[(OTHER_WORDS[word] ?? told) as keyof typeof NodeState];
    if (state !== undefined) node.state = state;
    if (event.attempt > 0) node.attempt = event.attempt;
  }
}

const newTarget = { needs: [], uses: "", kind: "step", state: NodeState.READY, attempt: 0 };

/** The state that an event names beside its type: a lost node's, a decided one's. */
function dataState({ data }: automationRuns.RunEvent): string | undefined {
  if (data?.kind.case !== "structValue") return undefined;
  const state = data.kind.value.fields.state?.kind;
  return state?.case === "stringValue" ? state.value.toUpperCase() : undefined;
}
