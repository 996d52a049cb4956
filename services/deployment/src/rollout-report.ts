import { deployment } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { RolloutRecord } from "./records.ts";
import type { RolloutJournal } from "./rollout-journal.ts";
import type { DeploymentStore } from "./store.ts";

/** Says what a rollout does while it does it: state and events, on disk before the work begins. */
export class RolloutReport {
  readonly rollout: RolloutRecord;
  readonly #journal: RolloutJournal;
  readonly #store: DeploymentStore;
  #steps = 0;

  constructor(rollout: RolloutRecord, journal: RolloutJournal, store: DeploymentStore) {
    this.rollout = rollout;
    this.#journal = journal;
    this.#store = store;
  }

  /** Does one step of a rollout; the work answers with what happened, as a person would say it. */
  async step(
    state: deployment.RolloutState,
    title: string,
    work: (step: StepReport) => Promise<string>,
  ): Promise<void> {
    const { rolloutId } = this.rollout;
    if (this.rollout.state !== state) {
      this.rollout.state = state;
      await this.#store.rollouts.set(rolloutId, { state });
    }
    this.#steps += 1;
    const stepId = `${deployment.RolloutState[state as never] ?? state}-${this.#steps}`;
    const began = performance.now();
    await this.add({ case: "stepStarted", value: { stepId, state, title } });
    const finish = (ok: boolean, words: string) =>
      this.add({
        case: "stepFinished",
        value: { stepId, ok, title: words, durationMs: BigInt(Math.round(performance.now() - began)) },
      });
    try {
      const done = await work({
        progress: (message) => this.add({ case: "stepProgress", value: { stepId, message } }),
        output: (text) => this.add({ case: "stepOutput", value: { stepId, text } }),
      });
      await finish(true, done);
    } catch (error) {
      // A server that stops has not failed at the step: the next one does it.
      if (HmsError.from(error).code !== "CANCELLED") await finish(false, title);
      throw error;
    }
  }

  /** Adds an event. */
  add(event: Parameters<RolloutJournal["add"]>[1]): Promise<void> {
    return this.#journal.add(this.rollout.rolloutId, event);
  }
}

/** What a running step may say. */
export interface StepReport {
  progress(message: string): Promise<void>;
  output(text: string): Promise<void>;
}
