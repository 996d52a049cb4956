import { existsSync, readFileSync } from "node:fs";
import { type InstancePaths, resolveInstance } from "@hms/config";
import { agent, calls, deployment, mesh, policy, registry } from "@hms/contracts";
import { type Client, createClient, HmsError, type Transport } from "@hms/kernel";
import { connectSocket } from "@hms/wire";
import type { GlobalOptions } from "./command-spec.ts";

/** The connection of one command to one installation. */
export interface Session {
  readonly paths: InstancePaths;
  readonly deployments: Client<typeof deployment.DeploymentService>;
  readonly mesh: Client<typeof mesh.MeshService>;
  readonly agent: Client<typeof agent.AgentService>;
  readonly registry: Client<typeof registry.RegistryService>;
  readonly calls: Client<typeof calls.CallService>;
  readonly policies: Client<typeof policy.PolicyService>;
  /** Calls any method at the platform's socket, also of services that live elsewhere. */
  readonly platform: Transport;
  close(): Promise<void>;
}

const SERVER_PATIENCE_MS = 10_000;
/** After twice this without a sign of life a command says so instead of waiting on. */
const KEEP_ALIVE_MS = 5_000;

/** The command that starts an installation. */
export function upCommand({ instance }: InstancePaths): string {
  return instance === "default" ? "hms-sys up" : `hms-sys up --instance ${instance}`;
}

function readToken(paths: InstancePaths): string {
  try {
    return readFileSync(paths.operatorToken, "utf8").trim();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "EACCES") {
      throw new HmsError(
        "PERMISSION_DENIED",
        `You may not read ${paths.operatorToken}: only its owner operates this installation.`,
        { cause },
      );
    }
    throw new HmsError(
      "UNAVAILABLE",
      `Instance "${paths.instance}" has never been started here (no ${paths.operatorToken}). Start it with: ${upCommand(paths)}`,
      { cause },
    );
  }
}

/**
 * Opens the connection; nothing is sent before the first call. With a token of somebody who is signed in the platform is
 * called as that person, otherwise as the operator.
 */
export function openSession(globals: Pick<GlobalOptions, "instance" | "data">, personToken?: string): Session {
  const paths = resolveInstance(globals);
  const token = readToken(paths);
  // A server that restarts is waited for; where no agent is, nothing will come.
  const waitForReadyMs = existsSync(paths.agentSocket) ? SERVER_PATIENCE_MS : 0;
  const ours = { keepAliveMs: KEEP_ALIVE_MS };
  const kernel = connectSocket({ path: paths.kernelSocket, token: personToken ?? token, waitForReadyMs, ...ours });
  const agentTransport = connectSocket({ path: paths.agentSocket, token, ...ours });
  return {
    paths,
    deployments: createClient(deployment.DeploymentService, kernel),
    mesh: createClient(mesh.MeshService, kernel),
    agent: createClient(agent.AgentService, agentTransport),
    registry: createClient(registry.RegistryService, kernel),
    calls: createClient(calls.CallService, kernel),
    policies: createClient(policy.PolicyService, kernel),
    platform: kernel,
    close: async () => {
      await Promise.all([kernel.close(), agentTransport.close()]);
    },
  };
}
