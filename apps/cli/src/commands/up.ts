import { existsSync, readFileSync } from "node:fs";
import { assertEncryptedWays, hostEnvironment, type InstancePaths, readNetwork, resolveInstance } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import { readPlatformHost } from "@hms/local-access";
import { endAgent, shutDown } from "../agent-end.ts";
import { type AgentKeeper, agentOptions, keepAgent } from "../agent-keeper.ts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { followRollout } from "../follow-rollout.ts";
import { humanDuration } from "../output/human.ts";
import { outsideAddresses, reachSentence } from "../outside-addresses.ts";
import { runningSession, waitForServices } from "../platform-start.ts";
import { readManifest } from "../read-manifest.ts";
import { readySession } from "../ready-session.ts";
import type { Session } from "../session.ts";
import { addressLines, nextCommands } from "../welcome.ts";

const SERVICES_PATIENCE_MS = 10_000;

/** Starts the platform, deploys what is asked for, and stays until Ctrl-C. */
export async function run(invocation: Invocation): Promise<number> {
  const { globals, options, output } = invocation;
  const paths = resolveInstance(globals);
  assertEncryptedWays(hostEnvironment());
  // Before anything is ended for it.
  const agent = await agentOptions(paths, invocation);
  await requireFree(invocation, paths);
  const started = performance.now();
  const stop = stopSignal(invocation.signal);
  const takeOver = options.takeOver === true ? () => requireFree(invocation, paths) : undefined;
  const keeper = keepAgent(paths, { agent, output, takeOver });
  const session = await readySession({ invocation, keeper, stop });
  if (session === undefined) return ExitCode.INTERRUPTED;
  keeper.confirm();
  try {
    const late = await waitForServices(session, SERVICES_PATIENCE_MS);
    if (late.length > 0)
      output.note(`${output.paint.warn("!")} not healthy yet: ${late.join(", ")}; see \`hms-sys status SERVICE\``);
    output.note(`${output.paint.good("✓")} Ready in ${humanDuration(performance.now() - started)}`);
    const code = await deployMissing({ ...invocation, signal: stop, session: () => session }, session);
    if (!stop.aborted) await showWelcome(invocation, session);
    if (options.detach === true && !stop.aborted) return code;
    return await stayUntilStopped({ output, session, stop, ended: keeper.ended });
  } finally {
    keeper.release();
    await session.close();
  }
}

/** Aborts on the first Ctrl-C or SIGTERM. */
function stopSignal(interrupted: AbortSignal): AbortSignal {
  const terminated = new AbortController();
  process.once("SIGTERM", () => terminated.abort());
  return AbortSignal.any([interrupted, terminated.signal]);
}

/** One installation has one keeper: another one is refused, or takes over what its predecessor left behind. */
async function requireFree({ globals, options }: Invocation, paths: InstancePaths): Promise<void> {
  const running = await runningSession(globals);
  if (running === undefined) return;
  try {
    if (options.takeOver === true) return await endAgent(running);
  } finally {
    await running.close();
  }
  const other = paths.instance === "default" ? "two" : `${paths.instance}-2`;
  throw new HmsError(
    "ABORTED",
    `Instance "${paths.instance}" is running already (data in ${paths.data}). Stop it with \`hms-sys down\`, or start another one with \`--instance ${other}\`.`,
  );
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

async function showWelcome({ output, globals }: Invocation, session: Session): Promise<void> {
  const { environment, instance } = globals;
  const { services } = await session.deployments.listServices({ environment, pageSize: 200 });
  const ready = { gatewayPort: readNetwork(session.paths)?.gatewayPort ?? 0, instance, services };
  const link = setUpLinkOf(session.paths);
  const signIn = `http://${readPlatformHost(session.paths.platformHost)}:${ready.gatewayPort}/sign-in`;
  const reach = outsideAddresses(session.paths);
  if (output.json) {
    const gateway = `http://localhost:${ready.gatewayPort}`;
    const named = services.map(({ name, urls }) => ({ name, urls }));
    output.jsonLine({
      gateway,
      services: named,
      signIn,
      reachable: reach,
      ...(link === undefined ? {} : { setUpLink: link }),
    });
  } else {
    for (const line of addressLines(ready)) output.result(line);
    output.result(reachSentence(reach));
    output.result(link === undefined ? `People sign in at ${signIn}` : `Make the first account at ${link}`);
  }
  if (link !== undefined) output.note(`or here: hms-sys users create-admin LOGIN${suffixOf(session.paths)}`);
  output.note(
    `\nTry next:\n${nextCommands(ready)
      .map((command) => `  ${command}\n`)
      .join("")}`,
  );
}

/** By which the first account is made; undefined once somebody has one. */
function setUpLinkOf({ setUpLink }: InstancePaths): string | undefined {
  return existsSync(setUpLink) ? readFileSync(setUpLink, "utf8").trim() : undefined;
}

/** What commands for this installation need beside their own words. */
const suffixOf = ({ instance }: InstancePaths) => (instance === "default" ? "" : ` --instance ${instance}`);

interface Stay {
  output: Invocation["output"];
  session: Session;
  stop: AbortSignal;
  ended: AgentKeeper["ended"];
}

async function stayUntilStopped({ output, session, stop, ended }: Stay): Promise<number> {
  output.note("Ctrl-C stops everything; all data stays.");
  // Timers keep the process alive; the agent's handle alone does not.
  const alive = setInterval(() => {}, 60_000);
  try {
    const asked = once(stop);
    const reason = await Promise.race([asked.then(() => "asked" as const), ended]);
    if (reason === "taken over") {
      output.note("Another `hms-sys up` keeps this installation from now on.");
      return ExitCode.OK;
    }
    if (reason === "asked") {
      output.note("Stopping …");
      await shutDown(session, ended);
    }
  } finally {
    clearInterval(alive);
  }
  output.note("Stopped.");
  return ExitCode.OK;
}

function once(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
