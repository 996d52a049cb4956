export type { RunContext, RunPrincipal } from "./claimed-task.ts";
export { type Durable, type DurableOptions, openDurable } from "./durable.ts";
export type { Effect, FanOut, GraphNode, Need, RetryPolicy, RunGraph } from "./graph.ts";
export { checkGraph } from "./graph-check.ts";
export type { Json } from "./json.ts";
export type { NodeView, RunState, RunView } from "./run-view.ts";
export type { StartedRun, StartRequest } from "./start-run.ts";
export type { Step, StepExecutor } from "./step.ts";
export type { WorkerMoment, WorkerOptions } from "./worker.ts";
