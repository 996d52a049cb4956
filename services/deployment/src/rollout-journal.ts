import { create, fromJson, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { deployment } from "@hms/contracts";
import type { DeploymentStore } from "./store.ts";

type EventInit = MessageInitShape<typeof deployment.RolloutEventSchema>["event"];

/** The events of rollouts: on disk before anybody sees them, each once, to be read at any time. */
export class RolloutJournal {
  readonly #store: DeploymentStore;
  readonly #sequences = new Map<string, bigint>();
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(store: DeploymentStore) {
    this.#store = store;
  }

  /** Adds the next event of a rollout; calls for one rollout come one after the other. */
  async add(rolloutId: string, event: NonNullable<EventInit>): Promise<void> {
    const last = this.#sequences.get(rolloutId) ?? (await this.#store.rollouts.lastSequence(rolloutId));
    const sequence = last + 1n;
    this.#sequences.set(rolloutId, sequence);
    const message = create(deployment.RolloutEventSchema, {
      rolloutId,
      sequence,
      time: timestampFromDate(new Date()),
      event,
    });
    await this.#store.rollouts.addEvent(rolloutId, sequence, toJson(deployment.RolloutEventSchema, message));
    if (event.case === "ended") this.#sequences.delete(rolloutId);
    for (const wake of this.#waiting.get(rolloutId) ?? []) wake();
  }

  /** A rollout's events from its first to its last; waits for those that have not happened. */
  async *watch(rolloutId: string, signal: AbortSignal): AsyncGenerator<deployment.RolloutEvent> {
    let after = 0n;
    const wakers = this.#waiting.get(rolloutId) ?? new Set();
    this.#waiting.set(rolloutId, wakers);
    let wake = () => {};
    let news = new Promise<void>((resolve) => (wake = resolve));
    const onNews = () => wake();
    wakers.add(onNews);
    signal.addEventListener("abort", onNews);
    try {
      while (!signal.aborted) {
        const found = await this.#store.rollouts.events(rolloutId, after);
        for (const { sequence, event } of found) {
          const message = fromJson(deployment.RolloutEventSchema, event);
          after = sequence;
          yield message;
          if (message.event.case === "ended") return;
        }
        if (found.length > 0) continue;
        await news;
        news = new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      signal.removeEventListener("abort", onNews);
      wakers.delete(onNews);
      if (wakers.size === 0) this.#waiting.delete(rolloutId);
    }
  }
}
