import { type CallContext, type ChangeSignal, HmsError, principalName } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import { refuseTexts } from "./request-texts.ts";
import type { RolloutJournal } from "./rollout-journal.ts";
import type { RolloutRow } from "./rollout-rows.ts";
import type { RolloutAsk } from "./rollout-state.ts";
import type { ServiceReader } from "./service-reader.ts";
import type { ServiceKey } from "./service-record.ts";

/** A person waits this long for the database. */
const PATIENCE_MS = 10_000;

/** What a request to a running rollout says. */
interface GivenAsk {
  environment: string;
  service: string;
  rolloutId: string;
  reason: string;
  full?: boolean;
}

/** Takes what people ask of rollouts that run, and tells their drivers. */
export class RolloutControl {
  /** Notified whenever somebody has asked for something here. */
  readonly asked: ChangeSignal;
  readonly #journal: RolloutJournal;
  readonly #reader: ServiceReader;

  constructor({ journal, reader, asked }: { journal: RolloutJournal; reader: ServiceReader; asked: ChangeSignal }) {
    this.#journal = journal;
    this.#reader = reader;
    this.asked = asked;
  }

  /**
   * Writes down what is asked of the service's rollout; its driver takes it up within a moment. Answers with the rollout.
   * @throws HmsError NOT_FOUND, FAILED_PRECONDITION if nothing runs, another rollout does, or it makes no sense there
   */
  async ask(what: RolloutAsk["what"], request: GivenAsk, context: CallContext): Promise<{ rolloutId: string }> {
    const { principal } = context;
    const { reason } = request;
    refuseTexts({ reason });
    const { environment, service } = await this.#reader.existing(request, context);
    const ask: RolloutAsk = { what, by: principalName(principal), reason, ...(request.full ? { full: true } : {}) };
    const check = (row: RolloutRow | undefined) =>
      checked(row, { environment, service }, { ask, wanted: request.rolloutId });
    const add = () => this.#journal.ask({ environment, service }, ask, check);
    const rolloutId = await retryWhileUnavailable(add, { deadlineMs: PATIENCE_MS });
    this.asked.notify();
    return { rolloutId };
  }
}

/** Lets go of the running rollout of a service that the platform itself is about to remove. */
export async function abortBeforeRemoval(
  { journal, asked }: { journal: RolloutJournal; asked: ChangeSignal },
  key: ServiceKey,
  { by, reason }: Pick<RolloutAsk, "by" | "reason">,
): Promise<void> {
  const ask: RolloutAsk = { what: "abort", by, reason };
  try {
    await journal.ask(key, ask, (row) => checked(row, key, { ask, wanted: "" }));
    asked.notify();
  } catch (error) {
    // Nothing runs, or it ends by itself.
    if (HmsError.from(error).code !== "FAILED_PRECONDITION") throw error;
  }
}

const refusal = (reason: string, message: string) => new HmsError("FAILED_PRECONDITION", message, { reason });

/** @throws HmsError FAILED_PRECONDITION if this cannot be asked of what runs now */
function checked(
  row: RolloutRow | undefined,
  { service }: ServiceKey,
  { ask: { what, full }, wanted }: { ask: RolloutAsk; wanted: string },
): void {
  if (row === undefined) {
    throw refusal(
      "NO_ROLLOUT",
      `No rollout of "${service}" runs, so there is nothing to ${what}. See hms-sys history ${service}.`,
    );
  }
  if (wanted !== "" && wanted !== row.rollout_id) {
    const message = `Rollout ${wanted} of "${service}" does not run; ${row.rollout_id} does. Name that one, or none.`;
    throw refusal("OTHER_ROLLOUT", message);
  }
  const { state, kind } = row;
  if (state.phase === "reverting") {
    throw refusal(
      "REVERTING",
      `Rollout ${row.rollout_id} is being undone already. Follow it with hms-sys watch ${row.rollout_id}.`,
    );
  }
  if (kind === "stop" || kind === "remove") {
    throw refusal("NOT_POSSIBLE", `A ${kind} cannot be ${PAST[what]}. Wait for it: hms-sys watch ${row.rollout_id}.`);
  }
  const waits = state.doing?.kind === "warm" || (state.doing?.kind === "hold" && state.holds !== "pause");
  if (what === "promote" && !waits && !(full && state.policy.sideBySide)) {
    const why = state.policy.sideBySide ? "is on its way to its next step" : "changes versions batch by batch";
    throw refusal("NOTHING_TO_PROMOTE", `Rollout ${row.rollout_id} waits for nobody: it ${why}.`);
  }
  if (what === "resume" && !state.paused) {
    throw refusal("NOT_PAUSED", `Rollout ${row.rollout_id} is not paused.`);
  }
}

const PAST: Record<RolloutAsk["what"], string> = {
  promote: "promoted",
  abort: "aborted",
  pause: "paused",
  resume: "resumed",
};
