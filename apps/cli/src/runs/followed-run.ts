import { automationRuns } from "@hms/contracts";
import { ChangeSignal } from "@hms/kernel";
import type { Invocation } from "../command-spec.ts";
import { watchedRun } from "./follow-run.ts";
import type { ShownNode } from "./node-rows.ts";
import { RunPicture } from "./run-picture.ts";

const { NodeState } = automationRuns;
const OVER: readonly automationRuns.NodeState[] = [
  NodeState.SUCCEEDED,
  NodeState.FAILED,
  NodeState.SKIPPED,
  NodeState.CANCELLED,
];

/** True once a node's state does not change any more. */
export const isOver = ({ state }: Pick<ShownNode, "state">): boolean => OVER.includes(state);

/** A run that is followed in the background, until it ends or `signal` aborts. */
export class FollowedRun {
  readonly #picture = new RunPicture();
  readonly #changes = new ChangeSignal();
  readonly #signal: AbortSignal;
  #failure: unknown;

  constructor(invocation: Invocation, runId: string, signal: AbortSignal) {
    this.#signal = signal;
    void this.#follow(invocation, runId);
  }

  async #follow(invocation: Invocation, runId: string): Promise<void> {
    const picture = this.#picture;
    try {
      for await (const answer of watchedRun(invocation, { runId, picture, signal: this.#signal })) {
        picture.take(answer);
        this.#changes.notify();
      }
    } catch (error) {
      this.#failure = error;
    }
    this.#changes.notify();
  }

  /** The node as it is now. */
  node(name: string): ShownNode | undefined {
    return this.#picture.nodes.find(({ node, target }) => node === name && target === "");
  }

  /**
   * True once `holds` does, or nothing more will happen; false after `patienceMs`.
   * @throws what following the run failed with, and the signal's reason
   */
  async until(holds: () => boolean, patienceMs: number): Promise<boolean> {
    const until = performance.now() + patienceMs;
    for (;;) {
      const change = this.#changes.next(this.#signal, Math.max(0, until - performance.now()));
      change.catch(() => {});
      if (this.#failure !== undefined) throw this.#failure;
      if (holds() || this.#picture.hasEnded) return true;
      if (!(await change)) return false;
    }
  }
}
