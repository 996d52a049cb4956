import { create, type DescMessage, fromJson, toJson } from "@bufbuild/protobuf";
import { integrationOperations } from "@hms/contracts";
import { anyTypesOf, ChangeSignal, HmsError, type Kernel } from "@hms/kernel";
import { methodUnknown } from "../errors.ts";
import { FairShares } from "./fair-shares.ts";
import { type CurrentPrincipal, knownStill } from "./operation-attempt.ts";
import { type OperationRecord, operationMessage } from "./operation-record.ts";
import type { OperationStore } from "./operation-store.ts";

const { OperationSchema } = integrationOperations;

/** What callbacks are made with. */
export interface CallbackWorkerOptions {
  store: OperationStore;
  kernel: Kernel;
  current: CurrentPrincipal;
  pollMs: number;
  failed: (failure: HmsError) => void;
}

const CONCURRENCY = 16;
/** For one principal: its callees may be slow. */
const SHARE = 4;
const CALL_MS = 30_000;
const LEASE_MS = 2 * CALL_MS;
/** About a day, at the pauses below. */
const MOST_ATTEMPTS = 30;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 3_600_000;

/** The ended operation in the callback's own words: the contract's message, or whatever takes its JSON. */
function requestOf(desc: DescMessage, record: OperationRecord): unknown {
  const operation = create(OperationSchema, operationMessage(record));
  if (desc.typeName === OperationSchema.typeName) return operation;
  return fromJson(desc, toJson(OperationSchema, operation, { registry: anyTypesOf(OperationSchema.file) }), {
    ignoreUnknownFields: true,
  });
}

/** Tells callers how their operations ended: at least once each, on behalf of whoever started it. */
export class CallbackWorker {
  readonly #options: CallbackWorkerOptions;
  readonly #wake = new ChangeSignal();
  readonly #end = new AbortController();
  readonly #loop: Promise<void>;
  readonly #shares = new FairShares(SHARE);
  readonly #running = new Set<Promise<void>>();
  #woken = false;

  constructor(options: CallbackWorkerOptions) {
    this.#options = options;
    this.#loop = this.#run();
  }

  /** A callback may be due now. */
  wake(): void {
    this.#woken = true;
    this.#wake.notify();
  }

  /** Ends after the callbacks that are being made; they are repeated if they had not been answered. */
  async stop(): Promise<void> {
    this.#end.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    const { pollMs, failed } = this.#options;
    while (!signal.aborted) {
      this.#woken = false;
      await this.#takeDue().catch((error: unknown) => failed(HmsError.from(error)));
      if (!this.#woken) await this.#wake.next(signal, pollMs).catch(() => {});
    }
    await Promise.all(this.#running);
  }

  async #takeDue(): Promise<void> {
    const limit = Math.min(CONCURRENCY - this.#running.size, this.#shares.room);
    if (limit <= 0) return;
    const claim = { limit, others: this.#shares.served(), leaseMs: LEASE_MS };
    const due = await this.#options.store.claimCallbacks(claim);
    for (const record of due) this.#begin(record);
    if (due.length === limit) this.#woken = true;
  }

  #begin(record: OperationRecord): void {
    this.#shares.begin(record.principal);
    const telling = this.#tell(record)
      .catch((error: unknown) => this.#options.failed(HmsError.from(error)))
      .finally(() => {
        this.#shares.end(record.principal);
        this.#running.delete(telling);
        this.wake();
      });
    this.#running.add(telling);
  }

  async #tell(record: OperationRecord): Promise<void> {
    const { store, failed } = this.#options;
    let delayMs: number | undefined;
    try {
      await this.#call(record);
    } catch (caught) {
      const error = HmsError.from(caught);
      const isLast = record.callback_attempts >= MOST_ATTEMPTS;
      if (!isLast) delayMs = Math.min(FIRST_PAUSE_MS * 2 ** (record.callback_attempts - 1), LONGEST_PAUSE_MS);
      if (isLast) failed(error);
    }
    await store.settleCallback(record, delayMs);
  }

  async #call(record: OperationRecord): Promise<void> {
    const { callback_service: service, callback_method: method, environment } = record;
    if (service === null || method === null) return;
    const { kernel, current } = this.#options;
    const entry = await kernel.resolve({ service, method, environment });
    if (entry === undefined) throw methodUnknown(service, method, environment);
    await kernel.unary(entry, requestOf(entry.desc.input, record), {
      caller: { principal: await knownStill(current, record.principal_facts) },
      deadlineAt: performance.now() + CALL_MS,
      signal: this.#end.signal,
      metadata: {
        "x-hms-idempotency-key": `${record.operation_id}-callback`,
        "x-request-id": record.request_id,
        "x-hms-environment": environment,
      },
    });
  }
}
