import { durationMs } from "@bufbuild/protobuf/wkt";
import { type RowsAsThings, visibleRows } from "@hms/authorization";
import { integrationOperations } from "@hms/contracts";
import {
  type CallContext,
  type ChangeSignal,
  implement,
  type Kernel,
  type Principal,
  principalName,
} from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import { sql } from "kysely";
import { cancelledOnRequest, keyTaken, operationUnknown } from "../errors.ts";
import { isUuid } from "../uuid.ts";
import { errorBytes } from "./operation-attempt.ts";
import { hasEnded, type OperationRecord, operationMessage, stateName } from "./operation-record.ts";
import type { OperationStore } from "./operation-store.ts";
import type { OperationWorker } from "./operation-worker.ts";
import { readPageToken, writePageToken } from "./page-token.ts";
import { readStartRequest } from "./start-request.ts";

/** How long a call without a deadline waits for PostgreSQL. */
const PATIENCE_MS = 10_000;
const DEFAULT_WAIT_MS = 30_000;
/** Another process may end an operation: whoever waits looks again after this long. */
const LOOK_AGAIN_MS = 1000;
const DEFAULT_PAGE_SIZE = 100;

/** What the handlers stand on. */
export interface OperationParts {
  kernel: Kernel;
  store: OperationStore;
  worker: Pick<OperationWorker, "wake" | "cancel">;
  /** Wakes up whenever an operation has changed in this process. */
  changes: ChangeSignal;
  /** The signal of a call that also ends when the service stops. */
  untilEnd: (context: CallContext) => AbortSignal;
}

const placeOf = ({ created_at: createdAt, operation_id: operationId }: OperationRecord) => ({ createdAt, operationId });

/** The operator and the platform see every operation, everybody else his own. */
const ownerOf = (principal: Principal) =>
  principal.kind === "operator" || principal.kind === "component" ? undefined : principalName(principal);

/** An operation is where the service of its method is, and belongs to who started it. */
const THINGS: RowsAsThings<OperationRecord> = {
  columns: { name: sql`operation_id::text`, environment: sql.ref("environment"), owner: sql.ref("principal") },
  placed: "some",
  thingOf: ({ operation_id: name, environment, principal: owner }) => ({ name, environment, facts: { owner } }),
};

/** The methods of hms.sys.integration.v1's operations over their parts. */
export function operationRegistration({ kernel, store, worker, changes, untilEnd }: OperationParts) {
  const patiently = <T>(context: CallContext, work: () => Promise<T>): Promise<T> =>
    retryWhileUnavailable(work, { signal: untilEnd(context), deadlineMs: context.remainingMs ?? PATIENCE_MS });

  const find = async (operationId: string, context: CallContext): Promise<OperationRecord> => {
    const owner = ownerOf(context.principal);
    const found = isUuid(operationId) ? await patiently(context, () => store.find(operationId, owner)) : undefined;
    const isVisible = found && visibleRows(context.filter(), THINGS).allows(found);
    if (found === undefined || !isVisible) throw operationUnknown(operationId);
    return found;
  };

  return implement(integrationOperations.OperationService, {
    async startOperation(request, context) {
      const operation = await readStartRequest(kernel, request, context);
      const kept = await patiently(context, () => store.start(operation));
      if (Buffer.compare(kept.request_sha256, operation.request_sha256) !== 0) {
        throw keyTaken(request.idempotencyKey, kept.operation_id);
      }
      worker.wake();
      return { operation: operationMessage(kept) };
    },

    async getOperation({ operationId }, context) {
      return { operation: operationMessage(await find(operationId, context)) };
    },

    async waitOperation({ operationId, maxWait }, context) {
      const until = performance.now() + (maxWait ? durationMs(maxWait) : DEFAULT_WAIT_MS);
      for (;;) {
        // Asked for before looking, so that what changes in between is not missed.
        const changed = changes.next(
          untilEnd(context),
          Math.max(1, Math.min(LOOK_AGAIN_MS, until - performance.now())),
        );
        changed.catch(() => {});
        const found = await find(operationId, context);
        if (hasEnded(found) || performance.now() >= until) return { operation: operationMessage(found) };
        await changed;
      }
    },

    async cancelOperation({ operationId }, context) {
      const before = await find(operationId, context);
      const error = errorBytes(cancelledOnRequest());
      const after = await patiently(context, () => store.requestCancel(operationId, error));
      worker.cancel(operationId);
      changes.notify();
      return { operation: operationMessage(after ?? (hasEnded(before) ? before : await find(operationId, context))) };
    },

    async listOperations({ state, pageSize, pageToken }, context) {
      const limit = pageSize || DEFAULT_PAGE_SIZE;
      const place = readPageToken(pageToken);
      const query = { principal: ownerOf(context.principal), state: stateName(state) };
      const found = await visibleRows(context.filter(), THINGS).page({
        limit: limit + 1,
        read: ({ after, ...page }) =>
          patiently(context, () => store.list({ ...query, ...page, after: after ? placeOf(after) : place })),
        throwIfEnded: () => context.throwIfEnded(),
      });
      const page = found.slice(0, limit);
      const last = found.length > limit ? page.at(-1) : undefined;
      const nextPageToken = last ? writePageToken(placeOf(last)) : "";
      return { operations: page.map(operationMessage), nextPageToken };
    },
  });
}
