import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { automationRuns, deployment } from "@hms/contracts";
import { errorFromStatus } from "@hms/kernel";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { followRollout } from "../follow-rollout.ts";
import { renderTable } from "../output/table.ts";
import { parseDuration } from "../parse-option.ts";
import type { LocalManifest } from "../read-manifest.ts";
import { FollowedRun, isOver } from "../runs/followed-run.ts";
import { runClient } from "../runs/run-client.ts";
import { type DeployStep, deployGraph, deploySteps, POLICIES, type Policy } from "./deploy-graph.ts";
import { deployRequest } from "./deploy-one.ts";
import { deployOrder } from "./deploy-order.ts";
import { watchWhenBegun } from "./watch-when-begun.ts";

const { NodeState } = automationRuns;

type Service = LocalManifest & { name: string; needs: readonly string[]; file: string };

interface Outcome {
  readonly step: DeployStep<Service>;
  said: "deployed" | "failed" | "not begun" | "cancelled" | "goes on" | "gone back" | "not restored";
  code: number;
}

interface Deploy {
  readonly runId: string;
  /** The rollout of each node. */
  readonly rollouts: ReadonlyMap<string, string>;
  readonly followed: FollowedRun;
  readonly outcomes: Outcome[];
}

/**
 * Deploys several services as one run, each after those it needs, and shows it. The run goes on whatever becomes of this command.
 * Exit code 3: what failed or was taken back serves as before; 4: something could not be taken back.
 */
export async function deployMany(
  invocation: Invocation,
  manifests: readonly (LocalManifest & { file: string })[],
): Promise<number> {
  const { options, output } = invocation;
  const way = { policy: readPolicy(options.onFailure), parallel: options.parallel === true };
  const services: Service[] = deployOrder(
    manifests.map((manifest) => ({ ...manifest, name: manifest.parsed.name, needs: manifest.parsed.needs })),
  );
  const steps = deploySteps(services, way);
  const requestOf = (service: Service) =>
    toJson(deployment.DeployRequestSchema, deployRequest(invocation, service)) as JsonObject;
  output.note(`In this order: ${services.map(({ name }) => name).join(", ")}`);
  const started = await start(invocation, deployGraph(steps, way, requestOf), { services, policy: way.policy });
  const { runId } = started;
  if (options.detach === true) {
    if (output.json) output.jsonLine({ run: runId });
    else output.result(runId);
    output.note(goesOn(runId));
    return ExitCode.OK;
  }
  return await follow(invocation, started, steps);
}

const goesOn = (runId: string) =>
  `The deploy goes on; follow it with: hms-sys runs watch ${runId}, or end it with: hms-sys runs cancel ${runId}`;

function readPolicy(given: Invocation["options"][string]): Policy {
  const policy = POLICIES.find((each) => each === given);
  if (policy) return policy;
  throw new HmsError("INVALID_ARGUMENT", `--on-failure is "${given}"; write ${POLICIES.join(", ")}.`);
}

async function start(
  { session, globals, signal }: Invocation,
  graph: JsonObject,
  { services, policy }: { services: readonly Service[]; policy: Policy },
): Promise<automationRuns.Run> {
  const request = {
    environment: globals.environment,
    graph,
    labels: { kind: "deploy", "on-failure": policy },
    // It may be asked for again when it is unclear whether it was started.
    idempotencyKey: crypto.randomUUID(),
  };
  try {
    const { run } = await runClient(session()).startRun(request, { signal });
    if (run) return run;
    throw new HmsError("INTERNAL", "The automation service did not say which run it has started.");
  } catch (cause) {
    const error = HmsError.from(cause);
    if (error.code !== "UNAVAILABLE" && error.code !== "UNIMPLEMENTED") throw error;
    const files = services.map(({ file }) => `  hms-sys deploy ${file}`).join("\n");
    const message = `A deploy of several services is a run, and the automation service, which carries runs, cannot be reached: ${error.message} Nothing was begun. Try again, or deploy them one by one:\n${files}`;
    throw new HmsError(error.code, message, { ...error.details, cause });
  }
}

async function follow(
  invocation: Invocation,
  { runId, nodes }: automationRuns.Run,
  steps: readonly DeployStep<Service>[],
): Promise<number> {
  const { output } = invocation;
  const rollouts = new Map(nodes.map(({ node, rolloutId }) => [node, rolloutId]));
  const leaving = new AbortController();
  const followed = new FollowedRun(invocation, runId, AbortSignal.any([invocation.signal, leaving.signal]));
  const outcomes = steps.map((step): Outcome => ({ step, said: "not begun", code: ExitCode.OK }));
  const deploy = { runId, rollouts, followed, outcomes };
  try {
    for (const outcome of outcomes) await showDeploy(invocation, deploy, outcome);
    for (const outcome of outcomes.toReversed()) await showUndo(invocation, deploy, outcome);
    await waitUntil(invocation, deploy, () => false);
  } catch (error) {
    if (!invocation.signal.aborted && !(error instanceof LeftError)) throw error;
    const code = error instanceof LeftError ? error.code : ExitCode.INTERRUPTED;
    for (const outcome of outcomes) markUnknown(followed, outcome);
    summary(invocation, deploy);
    output.note(goesOn(runId));
    return code;
  } finally {
    leaving.abort();
  }
  summary(invocation, deploy);
  return exitCode(outcomes);
}

/** The command does not wait any longer. */
class LeftError extends Error {
  readonly code: number;

  constructor(code: number) {
    super("The command does not wait any longer.");
    this.code = code;
  }
}

/** @throws LeftError after `--timeout` */
async function waitUntil({ options }: Invocation, { followed }: Deploy, holds: () => boolean): Promise<void> {
  const patienceMs = Math.ceil(parseDuration("--timeout", String(options.timeout ?? "15m")));
  if (!(await followed.until(holds, patienceMs))) throw new LeftError(ExitCode.TIMED_OUT);
}

/** Shows the rollout of a node once it has begun; answers how that ended, or undefined if the node had nothing to do. */
async function showRollout(invocation: Invocation, deploy: Deploy, node: string): Promise<number | undefined> {
  const { followed, rollouts } = deploy;
  const shown = () => followed.node(node) ?? { state: NodeState.UNSPECIFIED, attempt: 0 };
  const over = () => isOver(shown());
  await waitUntil(invocation, deploy, () => over() || shown().state === NodeState.RUNNING);
  const { state, attempt } = shown();
  if (state === NodeState.SKIPPED || (state === NodeState.CANCELLED && attempt === 0)) return undefined;
  try {
    const rolloutId = rollouts.get(node) ?? "";
    const code = await followRollout(invocation, (options) => watchWhenBegun(invocation, rolloutId, { over, options }));
    if (code === ExitCode.TIMED_OUT || code === ExitCode.INTERRUPTED) throw new LeftError(code);
    await waitUntil(invocation, deploy, over);
    return code;
  } catch (error) {
    if (!(error instanceof HmsError) || error.code !== "NOT_FOUND") throw error;
    return await showRefusal(invocation, deploy, node);
  }
}

/** What is refused before a rollout begins is a failure of that service. */
async function showRefusal({ session, globals, output }: Invocation, { runId }: Deploy, node: string): Promise<number> {
  const { run } = await runClient(session()).getRun({ runId, environment: globals.environment });
  const { error } = run?.nodes.find((each) => each.node === node) ?? {};
  if (error === undefined) return ExitCode.INTERRUPTED;
  const refusal = errorFromStatus(error);
  output.note(refusal.message);
  return refusal.code === "ABORTED" ? ExitCode.LOCKED : ExitCode.ERROR;
}

async function showDeploy(invocation: Invocation, deploy: Deploy, outcome: Outcome): Promise<void> {
  const { node } = outcome.step;
  const code = await showRollout(invocation, deploy, node);
  if (code === undefined) return;
  outcome.code = code;
  outcome.said = code === ExitCode.OK ? "deployed" : "failed";
  if (deploy.followed.node(node)?.state === NodeState.CANCELLED) outcome.said = "cancelled";
}

async function showUndo(invocation: Invocation, deploy: Deploy, outcome: Outcome): Promise<void> {
  const { undo, service } = outcome.step;
  if (undo === undefined || outcome.said !== "deployed") return;
  await waitUntil(invocation, deploy, () => {
    const { state = NodeState.UNSPECIFIED } = deploy.followed.node(undo) ?? {};
    return state === NodeState.RUNNING || isOver({ state });
  });
  if (deploy.followed.node(undo)?.state === NodeState.SKIPPED) return;
  invocation.output.note(`Taking ${service.name} back`);
  const code = await showRollout(invocation, deploy, undo);
  if (code !== undefined) outcome.said = code === ExitCode.OK ? "gone back" : "not restored";
}

/** What became of a service that is not waited for. */
function markUnknown(followed: FollowedRun, outcome: Outcome): void {
  const node = followed.node(outcome.step.node);
  if (outcome.said === "not begun" && node && !isOver(node)) outcome.said = "goes on";
}

function summary({ output }: Invocation, { outcomes, runId }: Deploy): void {
  if (output.json) {
    const services = outcomes.map(({ step: { service }, said, code }) => ({
      ...{ service: service.name, file: service.file, outcome: said, code },
    }));
    output.jsonLine({ run: runId, services });
    return;
  }
  const rows = outcomes.map(({ step: { service }, said }) => [service.name, said, service.file]);
  for (const line of renderTable(["SERVICE", "OUTCOME", "MANIFEST"], rows)) output.result(line);
}

function exitCode(outcomes: readonly Outcome[]): number {
  const codes = outcomes.map(({ code }) => code);
  if (outcomes.some(({ said }) => said === "not restored")) return ExitCode.NOT_RESTORED;
  return (
    [ExitCode.NOT_RESTORED, ExitCode.INTERRUPTED, ExitCode.TIMED_OUT, ExitCode.ROLLED_BACK].find((code) =>
      codes.includes(code),
    ) ??
    codes.find((code) => code !== ExitCode.OK) ??
    (outcomes.some(({ said }) => said === "not begun") ? ExitCode.INTERRUPTED : ExitCode.OK)
  );
}
