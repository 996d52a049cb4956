import { hostEnvironment, type InstancePaths, parseRoutesDefaultAuth, readPartNames } from "@hms/config";
import { ListenerKeeper } from "@hms/handover";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "./command-spec.ts";
import { ExitCode } from "./exit-code.ts";
import { requireGatewayPlaces } from "./gateway-places.ts";
import { requireListen } from "./network-address.ts";
import { parseCount } from "./parse-option.ts";
import { type AgentOptions, lastWords, logSize, spawnAgent } from "./platform-start.ts";

const LONGEST_RESTART_PAUSE_MS = 10_000;
const GOOD_LIFE_MS = 10_000;
/** How often an agent that a predecessor's keeper has started again is ended, too. */
const MOST_TAKE_OVERS = 5;

/** Why there is no agent to be kept any more. */
type AgentEnd = "stopped" | "taken over";

/** What keeps an installation's agent running. */
export interface AgentKeeper {
  /** Rejects if the agent's first start fails. */
  failed: Promise<never>;
  /** Aborted then. */
  givenUp: AbortSignal;
  /** Says that the first start went well: from now on every agent that dies has a successor. */
  confirm(): void;
  /** Resolves when the agent has ended on purpose, or has another keeper now. */
  ended: Promise<AgentEnd>;
  /** Stops restarting it. */
  release(): void;
}

/**
 * What `up` is told of the agent.
 * @throws HmsError INVALID_ARGUMENT for options that cannot be read, FAILED_PRECONDITION for what is not there yet,
 * UNAVAILABLE for addresses that cannot be had
 */
export async function agentOptions(
  paths: InstancePaths,
  { options }: Pick<Invocation, "options">,
): Promise<AgentOptions> {
  const { port, apart, listen } = options;
  const { gatewayListen: host, routesDefaultAuth } = hostEnvironment();
  const textOf = (option: unknown) => (typeof option === "string" ? option : undefined);
  const gatewayListen = {
    http: textOf(options.httpListen) ?? host.http,
    https: textOf(options.httpsListen) ?? host.https,
  };
  const defaultAuth = textOf(options.routesDefaultAuth) ?? routesDefaultAuth;
  await requireGatewayPlaces(paths, gatewayListen);
  return {
    gatewayPort: typeof port === "string" ? parseCount("--port", port, 1) : undefined,
    apart: typeof apart === "string" ? readPartNames("--apart", apart) : undefined,
    listen: typeof listen === "string" ? requireListen(listen, paths) : undefined,
    gatewayListen,
    routesDefaultAuth:
      defaultAuth === undefined ? undefined : parseRoutesDefaultAuth("--routes-default-auth", defaultAuth),
  };
}

/** How an agent is kept. */
export interface KeepOptions {
  agent: AgentOptions;
  output: Invocation["output"];
  /** Ends whoever holds the installation; undefined: nobody is ended. */
  takeOver?: (() => Promise<void>) | undefined;
}

/**
 * Starts the agent, and starts it again when it dies: what it runs goes on meanwhile. The listening sockets that the agent
 * keeps for the data plane are kept here, too: if both die, connections wait for their successors.
 */
export function keepAgent(paths: InstancePaths, { agent, output, takeOver }: KeepOptions): AgentKeeper {
  const failure = Promise.withResolvers<never>();
  const end = Promise.withResolvers<AgentEnd>();
  failure.promise.catch(() => {});
  const givenUp = new AbortController();
  const listeners = new ListenerKeeper();
  void end.promise.then(() => listeners.close());
  let isFirstStart = true;
  let released = false;
  let failures = 0;
  let takenOver = 0;
  /** The predecessor's keeper may have been quicker: it gives up once it finds our agent there. */
  const takesOverAgain = (code: number | null) => {
    if (!isFirstStart || code !== ExitCode.LOCKED || !takeOver || takenOver >= MOST_TAKE_OVERS) return false;
    takenOver += 1;
    takeOver().then(start, (error: unknown) => {
      givenUp.abort();
      failure.reject(error);
    });
    return true;
  };
  const start = () => {
    const since = logSize(paths);
    const began = Date.now();
    const child = spawnAgent(paths, agent);
    // Its end is noticed below.
    listeners.attach(child).catch(() => {});
    child.once("exit", (code, signal) => {
      if (code === 0) return end.resolve("stopped");
      if (released || takesOverAgain(code)) return;
      if (isFirstStart && signal === null) return giveUp(code, lastWords(paths, since));
      if (code === ExitCode.LOCKED) return end.resolve("taken over");
      output.note(`… the agent ended (${signal ?? `exit code ${code}`}); starting it again`);
      startLater(Date.now() - began);
    });
  };
  const giveUp = (code: number | null, words: string) => {
    givenUp.abort();
    failure.reject(firstStartError(code, words));
  };
  const startLater = (livedMs: number) => {
    failures = livedMs < GOOD_LIFE_MS ? failures + 1 : 0;
    setTimeout(() => released || start(), Math.min(100 * 2 ** failures, LONGEST_RESTART_PAUSE_MS));
  };
  start();
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
