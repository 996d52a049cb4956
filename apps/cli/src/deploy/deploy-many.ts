import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { followRollout } from "../follow-rollout.ts";
import { renderTable } from "../output/table.ts";
import type { LocalManifest } from "../read-manifest.ts";
import { deployOne } from "./deploy-one.ts";
import { dependants, deployOrder } from "./deploy-order.ts";

const POLICIES = ["halt", "continue", "rollback-all"] as const;
type Policy = (typeof POLICIES)[number];

type Service = LocalManifest & { name: string; needs: readonly string[]; file: string };

interface Outcome {
  service: Service;
  /** The revision that served before; 0n: none. */
  before: bigint;
  said: "deployed" | "failed" | "not begun" | "gone back" | "not restored";
  code: number;
}

/**
 * Deploys several services, each after those it needs, one after the other. Each is a rollout of its own, which the server
 * carries to its end whatever becomes of this command. Exit code 3: what failed or was taken back serves as before; 4: something
 * could not be taken back.
 */
export async function deployMany(
  invocation: Invocation,
  manifests: readonly (LocalManifest & { file: string })[],
): Promise<number> {
  const policy = readPolicy(invocation.options.onFailure);
  const services = deployOrder(
    manifests.map((manifest) => ({ ...manifest, name: manifest.parsed.name, needs: manifest.parsed.needs })),
  );
  invocation.output.note(`In this order: ${services.map(({ name }) => name).join(", ")}`);
  const outcomes = await deployInOrder(invocation, services, policy);
  const hasFailed = outcomes.some(({ said }) => said === "failed");
  if (hasFailed && policy === "rollback-all") await takeBack(invocation, outcomes);
  return summary(invocation, outcomes);
}

function readPolicy(given: Invocation["options"][string]): Policy {
  const policy = POLICIES.find((each) => each === given);
  if (policy) return policy;
  throw new HmsError("INVALID_ARGUMENT", `--on-failure is "${given}"; write ${POLICIES.join(", ")}.`);
}

async function deployInOrder(invocation: Invocation, services: readonly Service[], policy: Policy): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const service of services) {
    const failed = new Set(outcomes.flatMap(({ said, service: { name } }) => (said === "failed" ? [name] : [])));
    const stays = policy === "continue" ? dependants(services, failed).has(service.name) : failed.size > 0;
    if (stays || invocation.signal.aborted) {
      outcomes.push({ service, before: 0n, said: "not begun", code: ExitCode.OK });
      continue;
    }
    const before = await servingRevision(invocation, service.name);
    const code = await attempt(invocation, () => deployOne(invocation, service));
    outcomes.push({ service, before, said: code === ExitCode.OK ? "deployed" : "failed", code });
  }
  return outcomes;
}

/** What is refused before a rollout begins is a failure of that service, and no reason to forget the others. */
async function attempt({ output }: Invocation, work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof HmsError)) throw error;
    output.note(error.message);
    return ExitCode.ERROR;
  }
}

async function servingRevision({ session, globals, signal }: Invocation, service: string): Promise<bigint> {
  try {
    const answer = await session().deployments.getService({ environment: globals.environment, service }, { signal });
    return answer.service?.replicasWanted === 0 ? 0n : (answer.service?.revision ?? 0n);
  } catch (error) {
    if (error instanceof HmsError && error.code === "NOT_FOUND") return 0n;
    throw error;
  }
}

/** Brings back what served before, the last deployed first; what served nothing before is stopped, and its history stays. */
async function takeBack(invocation: Invocation, outcomes: Outcome[]): Promise<void> {
  const { globals, output } = invocation;
  for (const outcome of outcomes.toReversed()) {
    if (outcome.said !== "deployed") continue;
    const { service, before } = outcome;
    const request = {
      environment: globals.environment,
      service: service.name,
      reason: "a service deployed with it failed",
    };
    output.note(before === 0n ? `Stopping ${service.name}, which did not serve before` : `Taking ${service.name} back`);
    const code = await attempt(invocation, () =>
      followRollout(invocation, (options) => {
        const { deployments } = invocation.session();
        return before === 0n
          ? deployments.stop(request, options)
          : deployments.rollback({ ...request, revision: before }, options);
      }),
    );
    outcome.said = code === ExitCode.OK ? "gone back" : "not restored";
  }
}

function summary({ output }: Invocation, outcomes: readonly Outcome[]): number {
  if (output.json) {
    const services = outcomes.map(({ service: { name, file }, said, code }) => ({
      ...{ service: name, file, outcome: said, code },
    }));
    output.jsonLine({ services });
  } else {
    const rows = outcomes.map(({ service: { name, file }, said }) => [name, said, file]);
    for (const line of renderTable(["SERVICE", "OUTCOME", "MANIFEST"], rows)) output.result(line);
  }
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
