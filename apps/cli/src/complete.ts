import { deployment, deploymentSecrets } from "@hms/contracts";
import { createClient } from "@hms/kernel";
import type { Completes } from "./command-spec.ts";
import { commandGroups, commands } from "./command-table.ts";
import { type Completable, whereIs } from "./completion-place.ts";
import { enumWord } from "./output/human.ts";
import type { Session } from "./session.ts";

/** How long a shell may wait for live names. */
const PATIENCE_MS = 1000;

/** Prints what may stand at the last word, one a line with a tab before its meaning; silent when nothing fits. */
export async function complete(words: string[]): Promise<number> {
  const last = words.at(-1) ?? "";
  try {
    for (const [word, meaning] of await candidates(words)) {
      if (word.startsWith(last)) process.stdout.write(meaning ? `${word}\t${meaning}\n` : `${word}\n`);
    }
  } catch {
    // A shell must never see an error where it asked for words.
  }
  return 0;
}

type Candidate = [word: string, meaning: string];

async function candidates(words: string[]): Promise<Candidate[]> {
  const place = whereIs(words);
  switch (place.kind) {
    case "command":
      return commandWords(place.group);
    case "flag":
      return place.flags;
    case "value":
      return values(place);
    default:
      return [];
  }
}

function commandWords(group: string | undefined): Candidate[] {
  if (group === undefined) {
    const single = commands.filter(({ name }) => !name.includes(" "));
    return [...single.map(({ name, summary }): Candidate => [name, summary]), ...Object.entries(commandGroups)];
  }
  const inner = commands.filter(({ name }) => name.startsWith(`${group} `));
  return inner.map(({ name, summary }) => [name.slice(group.length + 1), summary]);
}

async function values({ completes, ...place }: Completable): Promise<Candidate[]> {
  if (typeof completes !== "string") return completes.map((word) => [word, ""]);
  if (completes === "manifest") return [];
  if (completes === "manifest-key") return manifestKeys();
  const { openSession } = await import("./session.ts");
  const session = openSession(place);
  try {
    return await live[completes](session, place);
  } finally {
    await session.close();
  }
}

type Live = (session: Session, place: Omit<Completable, "completes">) => Promise<Candidate[]>;

const patience = { timeoutMs: PATIENCE_MS };

const rolloutsOf: Live = async ({ deployments }, { service, environment }) => {
  const { rollouts } = await deployments.listRollouts({ service, environment, pageSize: 50 }, patience);
  return rollouts.map(({ rolloutId, kind, state }) => [
    rolloutId,
    `${enumWord(deployment.RolloutKind, kind)}, ${enumWord(deployment.RolloutState, state)}`,
  ]);
};

const live: Record<Exclude<Completes, readonly string[] | "manifest" | "manifest-key">, Live> = {
  "ffi-service": async ({ registry }, { environment }) => {
    const { services } = await registry.list({ environment, pageSize: 200 }, patience);
    return services.map(({ serviceId, version }) => [serviceId, version]);
  },
  "ffi-method": async (session, place) => {
    const { methodCandidates } = await import("./ffi/candidates.ts");
    return methodCandidates(session, place, patience);
  },
  "ffi-field": async (session, place) => {
    const { fieldCandidates } = await import("./ffi/candidates.ts");
    return fieldCandidates(session, place, patience);
  },
  service: async ({ deployments }, { environment }) => {
    const { services } = await deployments.listServices({ environment, pageSize: 200 }, patience);
    return services.map(({ name, version }) => [name, version]);
  },
  environment: async ({ deployments }) => {
    const { services } = await deployments.listServices({ pageSize: 200 }, patience);
    return [...new Set(services.map(({ environment }) => environment))].map((name) => [name, ""]);
  },
  revision: async ({ deployments }, { service, environment }) => {
    const { rollouts } = await deployments.listRollouts({ service, environment, pageSize: 50 }, patience);
    const served = rollouts.filter(
      ({ revision, state }) => revision > 0n && state === deployment.RolloutState.SUCCEEDED,
    );
    return [...new Map(served.map(({ revision, version }) => [String(revision), version]))];
  },
  replica: async ({ deployments }, { service, environment }) => {
    const { replicas } = await deployments.getService({ service, environment }, patience);
    return replicas.map(({ replica, ready }) => [replica?.spec?.replicaId ?? "", ready ? "ready" : "not ready"]);
  },
  secret: async ({ platform }, { environment }) => {
    const client = createClient(deploymentSecrets.SecretService, platform);
    const { secrets } = await client.listSecrets({ environment, pageSize: 200 }, patience);
    return secrets.map(({ name, versions }) => [name, `version ${versions[0]?.version}`]);
  },
  rollout: async (session, place) => {
    const { services } = await session.deployments.listServices(
      { environment: place.environment, pageSize: 200 },
      patience,
    );
    const lists = services.map(({ name, environment }) =>
      rolloutsOf(session, { ...place, service: name, environment }),
    );
    return (await Promise.all(lists)).flat();
  },
};

async function manifestKeys(): Promise<Candidate[]> {
  const { explainManifest } = await import("@hms/manifest");
  const below = (key: string): Candidate[] =>
    explainManifest(key).children.flatMap((child) => [
      [`manifest.${child.key}`, child.type] as Candidate,
      ...below(child.key),
    ]);
  return [["manifest", ""], ...below("")];
}
