import { create, type JsonObject } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { automationRuns } from "@hms/contracts";
import type { Json, NodeView, RunEvent, RunProgress, RunState, RunSummary, RunView } from "@hms/durable";
import { errorToStatus, HmsError, principalName } from "@hms/kernel";
import { rolloutOfStep } from "./rollout-step.ts";
import { toWkt } from "./value.ts";

const { NodeState, RunState: State } = automationRuns;

const STATES = ["queued", "running", "succeeded", "failed", "cancelled", "timed_out"] as const satisfies RunState[];

/** A run's state by its name in the contract. */
const stateOf = (state: RunState): automationRuns.RunState =>
  State[state.toUpperCase() as keyof typeof State] as automationRuns.RunState;

/** A state of the contract as the engine has it; undefined: none was given. */
export function stateName(state: automationRuns.RunState): RunState | undefined {
  return STATES.find((name) => stateOf(name) === state);
}

const nodeStateOf = (state: string): automationRuns.NodeState =>
  NodeState[state.toUpperCase() as keyof typeof NodeState] as automationRuns.NodeState;

const timeOf = (date: Date | null) => (date === null ? undefined : timestampFromDate(date));

/** A run without its nodes. */
export function summaryMessage(run: RunSummary): automationRuns.Run {
  const { id, state, isPaused, stopReason, principal, retryOf, lastSeq, createdAt, startedAt, endedAt, ...facts } = run;
  return create(automationRuns.RunSchema, {
    runId: id,
    environment: facts.environment,
    state: stateOf(state),
    paused: isPaused,
    stopReason: stopReason ?? "",
    labels: { ...facts.labels },
    principal: principalName(principal as unknown as Parameters<typeof principalName>[0]),
    retryOf: retryOf ?? "",
    lastEvent: String(lastSeq),
    ...given("createdAt", timeOf(createdAt)),
    ...given("startedAt", timeOf(startedAt)),
    ...given("endedAt", timeOf(endedAt)),
  });
}

/** A run with its nodes. */
export function runMessage(run: RunView): automationRuns.Run {
  const message = summaryMessage(run);
  message.inputs = run.inputs as JsonObject;
  message.nodes = run.nodes.map((node) => nodeMessage(run.id, node));
  return message;
}

function nodeMessage(runId: string, view: NodeView): automationRuns.RunNode {
  const { node, target, state, kind, uses, queue, needs, attempt, output, error, waitFor, ...times } = view;
  return create(automationRuns.RunNodeSchema, {
    node,
    target,
    state: nodeStateOf(state),
    kind,
    uses,
    queue,
    needs: [...needs],
    attempt,
    waitsFor: waitFor ?? "",
    rolloutId: rolloutBefore(output) ?? rolloutOfStep(uses, runId, view),
    ...given("output", output === null ? undefined : toWkt(output)),
    ...given("error", error === null ? undefined : statusOf(error)),
    ...given("dueAt", timeOf(times.dueAt)),
    ...given("startedAt", timeOf(times.startedAt)),
    ...given("endedAt", timeOf(times.endedAt)),
  });
}

/** A step that was done in the run that this one carries on was that run's rollout. */
function rolloutBefore(output: Json): string | undefined {
  const id = typeof output === "object" && output !== null && "rollout_id" in output ? output.rollout_id : undefined;
  return typeof id === "string" ? id : undefined;
}

const statusOf = ({ code, message, reason }: NonNullable<NodeView["error"]>) =>
  errorToStatus(new HmsError(code as HmsError["code"], message, reason === undefined ? {} : { reason }));

/** What has happened to a run. */
export function eventMessage({ seq, at, type, node, target, attempt, data }: RunEvent): automationRuns.RunEvent {
  return create(automationRuns.RunEventSchema, {
    seq: String(seq),
    time: timestampFromDate(at),
    type,
    node: node ?? "",
    target: target ?? "",
    attempt: attempt ?? 0,
    ...given("data", data === null ? undefined : toWkt(data)),
  });
}

/** Which nodes are running. */
export function runningMessage({ running }: RunProgress): automationRuns.RunningNodes {
  const nodes = running.map(([node, target, attempt]) =>
    create(automationRuns.RunNodeSchema, { node, target, attempt, state: NodeState.RUNNING }),
  );
  return create(automationRuns.RunningNodesSchema, { nodes });
}

/** An optional field of a message, left out if it has no value. */
function given<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V });
}

/** The JSON of a struct that may be absent. */
export const inputsOf = (inputs: JsonObject | undefined): { [name: string]: Json } | undefined =>
  inputs as { [name: string]: Json } | undefined;
