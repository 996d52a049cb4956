import { fromJson } from "@bufbuild/protobuf";
import { deployment } from "@hms/contracts";
import { ChangeSignal } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import type { RolloutJournal } from "./rollout-journal.ts";

/** A reader waits this long for the database to come back. */
const PATIENCE_MS = 30_000;
/** Another server may write the journal too; its news are looked for. */
const LOOK_MS = 2000;

/** Rollouts as streams of events: read from the journal, so they can be followed at any time, also after the end. */
export class EventFeed {
  /** Notified whenever this server has written events. */
  readonly changes = new ChangeSignal();
  readonly #journal: Pick<RolloutJournal, "readEvents">;

  constructor(journal: Pick<RolloutJournal, "readEvents">) {
    this.#journal = journal;
  }

  /** A rollout's events from its first to its last; waits for those that have not happened. */
  async *watch(rolloutId: string, signal: AbortSignal): AsyncGenerator<deployment.RolloutEvent> {
    let after = 0;
    for (;;) {
      const change = this.changes.next(signal, LOOK_MS);
      change.catch(() => {});
      const read = () => this.#journal.readEvents(rolloutId, after);
      const found = await retryWhileUnavailable(read, { deadlineMs: PATIENCE_MS, signal });
      for (const { sequence, event } of found) {
        after = sequence;
        const message = fromJson(deployment.RolloutEventSchema, event);
        message.sequence = BigInt(sequence);
        yield message;
        if (message.event.case === "ended") return;
      }
      if (found.length === 0) await change;
    }
  }
}
