import type { ChildProcess } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { type InstancePaths, readNetwork, resolveInstance } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { followRollout } from "../follow-rollout.ts";
import { humanDuration } from "../output/human.ts";
import { parseCount } from "../parse-option.ts";
import { lastWords, logSize, runningSession, spawnAgent, waitForServices, waitUntilReady } from "../platform-start.ts";
import { readManifest } from "../read-manifest.ts";
import type { Session } from "../session.ts";

const START_PATIENCE_MS = 120_000;
const SERVICES_PATIENCE_MS = 10_000;
const STOP_PATIENCE_MS = 60_000;
const LONGEST_RESTART_PAUSE_MS = 10_000;

/** Starts the platform, deploys what is asked for, and stays until Ctrl-C. */
export async function run(invocation: Invocation): Promise<number> {
  const { globals, options, output } = invocation;
  const paths = resolveInstance(globals);
  const running = await runningSession(globals);
  if (running) {
    await running.close();
    const other = paths.instance === "default" ? "two" : `${paths.instance}-2`;
    throw new HmsError(
      "ABORTED",
      `Instance "${paths.instance}" is running already (data in ${paths.data}). Stop it with \`hms-sys down\`, or start another one with \`--instance ${other}\`.`,
    );
  }
  const started = performance.now();
  const keeper = keepAgent(paths, invocation);
  const session = await Promise.race([
    waitUntilReady(globals, AbortSignal.any([keeper.givenUp, AbortSignal.timeout(START_PATIENCE_MS)])),
    keeper.failed,
  ]).catch((error) => {
    // What could be started or adopted serves on; only a person can say whether it had better stop.
    if (!keeper.givenUp.aborted) output.note("The parts that did start go on; stop them with: hms-sys down");
    keeper.release();
    throw error;
  });
  keeper.confirm();
  try {
    const late = await waitForServices(session, SERVICES_PATIENCE_MS);
    if (late.length > 0)
      output.note(`${output.paint.warn("!")} not healthy yet: ${late.join(", ")}; see \`hms-sys status SERVICE\``);
    output.note(`${output.paint.good("✓")} Ready in ${humanDuration(performance.now() - started)}`);
    const code = await deployMissing({ ...invocation, session: () => session }, session);
    if (!invocation.signal.aborted) showWelcome(invocation, paths);
    if (options.detach === true && !invocation.signal.aborted) return code;
    return await stayUntilInterrupted(invocation, session, keeper.ended);
  } finally {
    keeper.release();
    await session.close();
  }
}

interface AgentKeeper {
  /** Rejects if the agent's first start fails. */
  failed: Promise<never>;
  /** Aborted then. */
  givenUp: AbortSignal;
  /** Says that the first start went well: from now on every agent that dies has a successor. */
  confirm(): void;
  /** Resolves when the agent has ended on purpose. */
  ended: Promise<void>;
  /** Stops restarting it. */
  release(): void;
}

/** Starts the agent, and starts it again when it dies: what it runs goes on meanwhile. */
function keepAgent(paths: InstancePaths, { options, output }: Invocation): AgentKeeper {
  const gatewayPort = typeof options.port === "string" ? parseCount("--port", options.port, 1) : undefined;
  const failure = Promise.withResolvers<never>();
  const end = Promise.withResolvers<void>();
  failure.promise.catch(() => {});
  const givenUp = new AbortController();
  let isFirstStart = true;
  let released = false;
  let failures = 0;
  const start = () => {
    const since = logSize(paths);
    const began = Date.now();
    const child = spawnAgent(paths, { gatewayPort });
    child.once("exit", (code, signal) => {
      if (code === 0) return end.resolve();
      if (released) return;
      if (isFirstStart && signal === null) {
        givenUp.abort();
        return failure.reject(firstStartError(code, lastWords(paths, since)));
      }
      failures = Date.now() - began < 10_000 ? failures + 1 : 0;
      output.note(`… the agent ended (${signal ?? `exit code ${code}`}); starting it again`);
      setTimeout(() => released || start(), Math.min(100 * 2 ** failures, LONGEST_RESTART_PAUSE_MS));
    });
    return child;
  };
  start() satisfies ChildProcess;
  return {
    failed: failure.promise,
    ended: end.promise,
    givenUp: givenUp.signal,
    confirm: () => {
      isFirstStart = false;
    },
    release: () => {
      released = true;
    },
  };
}

function firstStartError(code: number | null, words: string): HmsError {
  return new HmsError(code === ExitCode.LOCKED ? "ABORTED" : "UNAVAILABLE", words);
}

async function deployMissing(invocation: Invocation, session: Session): Promise<number> {
  const files = typeof invocation.options.deploy === "string" ? invocation.options.deploy.split(",") : [];
  const { environment } = invocation.globals;
  const { services } = await session.deployments.listServices({ environment, pageSize: 200 });
  for (const file of files) {
    const { parsed, ...manifest } = readManifest(file);
    if (invocation.signal.aborted) return ExitCode.INTERRUPTED;
    if (services.some(({ name }) => name === parsed.name)) continue;
    const code = await followRollout({ ...invocation, options: { ...invocation.options, detach: false } }, (options) =>
      session.deployments.deploy({ ...manifest, environment }, options),
    );
    if (code !== ExitCode.OK) return code;
  }
  return ExitCode.OK;
}

function showWelcome({ output, options, globals }: Invocation, paths: InstancePaths): void {
  const port = readNetwork(paths)?.gatewayPort;
  const instance = globals.instance ? ` --instance ${globals.instance}` : "";
  const gateway = `http://localhost:${port}`;
  if (output.json) output.jsonLine({ gateway });
  else output.result(`Gateway: ${gateway}`);
  if (typeof options.deploy !== "string") return;
  output.note(`
Try next:
  curl -X POST localhost:${port}/pay -H 'content-type: application/json' -d '{"email":"a@b.c","amount":12}'
  ./hms-sys${instance} services
  ./hms-sys${instance} logs receipt-svc -f
`);
}

async function stayUntilInterrupted(
  { signal, output }: Invocation,
  session: Session,
  ended: Promise<void>,
): Promise<number> {
  output.note("Ctrl-C stops everything; all data stays.");
  const stop = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => stop.resolve(), { once: true });
  process.once("SIGTERM", () => stop.resolve());
  if (signal.aborted) stop.resolve();
  // Timers keep the process alive; the agent's handle alone does not.
  const alive = setInterval(() => {}, 60_000);
  try {
    const reason = await Promise.race([stop.promise.then(() => "asked" as const), ended.then(() => "ended" as const)]);
    if (reason === "asked") {
      output.note("Stopping …");
      await shutDown(session);
      await Promise.race([ended, pause(10_000, undefined, { ref: false })]);
    }
  } finally {
    clearInterval(alive);
  }
  output.note("Stopped.");
  return ExitCode.OK;
}

/** Asks the agent to stop everything; one that has just died is waited for, because only it knows what runs. */
async function shutDown({ agent }: Session): Promise<void> {
  const until = Date.now() + STOP_PATIENCE_MS;
  for (;;) {
    try {
      await agent.shutdown({}, { timeoutMs: STOP_PATIENCE_MS });
      return;
    } catch (error) {
      if (HmsError.from(error).code !== "UNAVAILABLE" || Date.now() > until) throw error;
      await pause(100);
    }
  }
}
