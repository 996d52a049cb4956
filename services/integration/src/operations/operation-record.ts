import { fromBinary } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { integrationOperations, status } from "@hms/contracts";
import type { Principal } from "@hms/kernel";

const { OperationState } = integrationOperations;

/** The states of an operation as they are kept. */
export type StateName = "pending" | "running" | "succeeded" | "failed" | "cancelled" | "timed_out";

/** The states that nothing follows. */
export type EndState = Exclude<StateName, "pending" | "running">;

/** An operation as it is kept. */
export interface OperationRecord {
  operation_id: string;
  environment: string;
  service: string;
  method: string;
  codec: integrationOperations.PayloadCodec;
  request: Uint8Array;
  principal: string;
  principal_facts: Principal;
  idempotency_key: string | null;
  request_sha256: Uint8Array;
  request_id: string;
  traceparent: string | null;
  state: StateName;
  attempts: number;
  response: Uint8Array | null;
  error: Uint8Array | null;
  cancel_requested: boolean;
  created_at: Date;
  deadline: Date;
  ended_at: Date | null;
  forgotten_at: Date | null;
  callback_service: string | null;
  callback_method: string | null;
  callback_attempts: number;
}

const STATES = {
  pending: OperationState.PENDING,
  running: OperationState.RUNNING,
  succeeded: OperationState.SUCCEEDED,
  failed: OperationState.FAILED,
  cancelled: OperationState.CANCELLED,
  timed_out: OperationState.TIMED_OUT,
} as const satisfies Record<StateName, integrationOperations.OperationState>;

/** The name under which a state of the contract is kept; undefined: every state. */
export function stateName(state: integrationOperations.OperationState): StateName | undefined {
  return (Object.keys(STATES) as StateName[]).find((name) => STATES[name] === state);
}

/** Whether nothing more happens to it. */
export function hasEnded({ state }: OperationRecord): boolean {
  return state !== "pending" && state !== "running";
}

const time = (date: Date | null): Timestamp | undefined => (date === null ? undefined : timestampFromDate(date));

/** An operation as callers see it. */
export function operationMessage(record: OperationRecord) {
  return {
    operationId: record.operation_id,
    service: record.service,
    method: record.method,
    environment: record.environment,
    state: STATES[record.state],
    codec: record.codec,
    response: record.response ?? new Uint8Array(),
    error: record.error === null ? undefined : fromBinary(status.StatusSchema, record.error),
    startedAt: time(record.created_at),
    endedAt: time(record.ended_at),
    deadline: time(record.deadline),
    forgottenAt: time(record.forgotten_at),
    attempts: record.attempts,
    principal: record.principal,
  };
}
