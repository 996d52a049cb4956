export type { RunContext, RunPrincipal } from "./claimed-task.ts";
export type { RunOrder } from "./control-run.ts";
export type { Decision } from "./decide.ts";
export { type Durable, type DurableOptions, openDurable } from "./durable.ts";
export type { Effect, FanOut, GraphNode, Need, RetryPolicy, RunGraph } from "./graph.ts";
export { checkGraph } from "./graph-check.ts";
export type { Json } from "./json.ts";
export type {
  RemoteClaim,
  RemoteClaims,
  RemoteOutcome,
  RemoteStep,
  RemoteWorker,
  RenewedClaim,
} from "./remote-claims.ts";
export type { RetryRequest } from "./retry-run.ts";
export type { ListOptions, RunEvent, RunProgress } from "./run-events.ts";
export type { NodeView, RunState, RunSummary, RunView } from "./run-view.ts";
export type { StartOptions } from "./start-cancelling.ts";
export type { StartedRun, StartRequest } from "./start-run.ts";
export type { Step, StepExecutor } from "./step.ts";
export type { LogCursor, LogPiece, LogRequest, RunLogPiece, RunLogRequest } from "./step-logs.ts";
export type { WorkerMoment, WorkerOptions } from "./worker-options.ts";
