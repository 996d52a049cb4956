import { setTimeout as delay } from "node:timers/promises";
import { create, type Message } from "@bufbuild/protobuf";
import { deployment } from "@hms/contracts";
import type { Step } from "@hms/durable";
import { HmsError, type Kernel, type MethodEntry, type Principal } from "@hms/kernel";
import { methodAway } from "./errors.ts";
import { rolloutLines } from "./rollout-words.ts";

const { DeploymentService } = deployment;
const AGAIN_MS = 500;

interface Followed {
  readonly rolloutId: string;
  readonly signal: AbortSignal;
}

/** One step's way to the deployment service, as the principal of its run. */
export class RolloutSite {
  readonly #kernel: Kernel;
  readonly #step: Step;
  readonly #principal: Principal;

  constructor(kernel: Kernel, step: Step, principal: Principal) {
    this.#kernel = kernel;
    this.#step = step;
    this.#principal = principal;
  }

  async method(method: string): Promise<MethodEntry> {
    const { environment } = this.#step.run;
    const service = DeploymentService.typeName;
    const entry = await this.#kernel.resolve({ service, method, environment });
    if (entry === undefined) throw methodAway(service, method, environment);
    return entry;
  }

  #call(rolloutId?: string, signal?: AbortSignal) {
    const { id, environment } = this.#step.run;
    const metadata = {
      ...(rolloutId === undefined ? {} : { "x-hms-idempotency-key": rolloutId }),
      "x-request-id": id,
      "x-hms-run": id,
      "x-hms-environment": environment,
    };
    return { caller: { principal: this.#principal }, metadata, ...(signal ? { signal } : {}) };
  }

  /** A rollout's end, whatever restarts meanwhile. @throws HmsError of who refuses it, or of the signal */
  async follow(
    entry: MethodEntry,
    request: Message,
    { rolloutId, signal }: Followed,
  ): Promise<deployment.RolloutEnded> {
    let seen = 0n;
    for (;;) {
      const events = this.#kernel.stream<typeof deployment.RolloutEventSchema>(
        entry,
        once(request),
        this.#call(rolloutId, signal),
      );
      for await (const event of unlessAway(events, signal)) {
        if (event.sequence <= seen) continue;
        seen = event.sequence;
        if (event.event.case === "planned") this.#assertOwn(request, event.event.value);
        for (const line of rolloutLines(event)) this.#step.log(line);
        if (event.event.case === "ended") return event.event.value;
      }
      await delay(AGAIN_MS, undefined, { signal });
    }
  }

  /** A step is no rollout of another service. @throws HmsError ABORTED */
  #assertOwn(request: Message, { environment, service }: { environment: string; service: string }): void {
    const asked = request as { environment?: string; service?: string };
    const isThere = asked.environment === undefined || asked.environment === environment;
    if (isThere && (asked.service ?? "") === "") return;
    if (isThere && asked.service === service) return;
    throw new HmsError(
      "ABORTED",
      `The rollout of this step is one of ${service} in ${environment}; it was not the run's.`,
    );
  }

  /**
   * The service's revision. Somebody may have deployed since.
   * @throws HmsError FAILED_PRECONDITION if it is none of these
   */
  async servingOf(service: string, revisions: readonly number[]): Promise<number> {
    const { environment } = this.#step.run;
    const asked = create(deployment.GetServiceRequestSchema, { environment, service });
    const answer = await this.#kernel.unary(await this.method("GetService"), asked, this.#call());
    const now = Number((answer as deployment.GetServiceResponse).service?.revision ?? 0n);
    if (revisions.includes(now)) return now;
    const message = `${service} is at revision ${now} by now, which is not the run's: it is left as it is. Roll it back yourself if it is to go.`;
    throw new HmsError("FAILED_PRECONDITION", message, { reason: "CHANGED_SINCE" });
  }

  /** Asks a rollout to undo itself. What has ended, or was never begun, is left alone. */
  async abort(request: Message, rolloutId: string): Promise<void> {
    const { environment, service } = await this.#whose(request, rolloutId);
    if (service === "") return;
    const reason = `the run ${this.#step.run.id} was stopped`;
    const asked = create(deployment.AbortRequestSchema, { environment, service, rolloutId, reason });
    try {
      await this.#kernel.unary(await this.method("Abort"), asked, this.#call(rolloutId));
      this.#step.log(`Told the rollout ${rolloutId} to undo itself.`);
    } catch (error) {
      const { code, message } = HmsError.from(error);
      this.#step.log(`The rollout ${rolloutId} was not told to undo itself: ${message}`);
      if (code !== "NOT_FOUND" && code !== "FAILED_PRECONDITION") throw error;
    }
  }

  /** The service of a rollout: requests name it, but for manifests, in which it is written. */
  async #whose(request: Message, rolloutId: string): Promise<{ environment: string; service: string }> {
    const { environment = "", service = "" } = request as { environment?: string; service?: string };
    if (service !== "") return { environment, service };
    try {
      const first = await this.#first(rolloutId);
      return first.event.case === "planned" ? first.event.value : { environment, service };
    } catch (error) {
      if (HmsError.from(error).code === "NOT_FOUND") return { environment, service };
      throw error;
    }
  }

  async #first(rolloutId: string): Promise<deployment.RolloutEvent> {
    const watch = create(deployment.WatchRolloutRequestSchema, { rolloutId });
    const events = this.#kernel.stream<typeof deployment.RolloutEventSchema>(
      await this.method("WatchRollout"),
      once(watch),
      this.#call(rolloutId),
    );
    for await (const event of events) return event;
    throw new HmsError("UNAVAILABLE", `The rollout ${rolloutId} cannot be looked at now.`);
  }
}

/** Events until they end, or whoever gives them is away. */
async function* unlessAway<T>(events: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  try {
    yield* events;
  } catch (error) {
    const failure = HmsError.from(error);
    if (failure.code !== "UNAVAILABLE" || signal.aborted) throw failure;
  }
}

async function* once<T>(message: T): AsyncGenerator<T> {
  yield message;
}
