import { grpcHealth } from "@hms/contracts";
import { connectGrpc } from "@hms/grpc";
import { createClient, HmsError } from "@hms/kernel";
import { exitWords } from "../effects/replica-failure.ts";
import { probe } from "../health/probe.ts";
import type { DeploymentRuntime, ReplicaMethods } from "../ports.ts";
import { type MeshAccess, resourceLimits } from "../replica-spec.ts";
import type { SecretVault } from "../secrets/secret-vault.ts";
import type { RevisionRecord } from "../service-record.ts";
import type { ReplicaQuestion } from "./gate.ts";
import { readGveAnswer } from "./gve-answer.ts";
import { askHttp } from "./http-question.ts";
import type { Look } from "./look.ts";

/** The replica that is asked about, and with what. */
export interface AskedReplica {
  readonly id: string;
  readonly port: number;
  readonly environment: string;
  readonly service: string;
  readonly revision: RevisionRecord;
  readonly runtime: Pick<DeploymentRuntime, "runTask">;
  readonly methods: ReplicaMethods;
  readonly vault: Pick<SecretVault, "of">;
  /** How programs of its environment reach the mesh. */
  readonly access: () => Promise<MeshAccess>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const HOST = "127.0.0.1";
/** EX_TEMPFAIL of sysexits.h: "try again later". */
const CANNOT_TELL = 75;

/** Asks one replica once. Never throws, but when the signal aborts. */
export async function askReplica(question: ReplicaQuestion, replica: AskedReplica): Promise<Look> {
  try {
    return await ASK[question.kind](question as never, replica);
  } catch (error) {
    replica.signal.throwIfAborted();
    return { verdict: "fail", words: error instanceof Error ? error.message : String(error) };
  }
}

type Of<Kind> = Extract<ReplicaQuestion, { kind: Kind }>;

const ASK: { [Kind in ReplicaQuestion["kind"]]: (question: Of<Kind>, replica: AskedReplica) => Promise<Look> } = {
  http: async ({ path }, replica) => looked(await probe(target(replica, path))),
  tcp: async (_, replica) => looked(await probe(target(replica, undefined))),
  gve: askGve as never,
  method: askMethod,
  grpc: askGrpc,
  exec: askProgram,
};

const target = ({ port, timeoutMs }: AskedReplica, http: string | undefined) => ({ host: HOST, port, http, timeoutMs });
const looked = ({ ok, answer }: { ok: boolean; answer: string }): Look => ({
  verdict: ok ? "pass" : "fail",
  words: answer,
});

async function askGve({ path }: { path: string }, { port, timeoutMs, signal }: AskedReplica): Promise<Look> {
  const { status, body } = await askHttp(`http://${HOST}:${port}${path}`, { timeoutMs }, signal);
  const answer = readGveAnswer(body);
  // A probe may say RED with 503, but none says GREEN with it.
  if (answer && (answer.verdict !== "pass" || (status >= 200 && status < 300))) return answer;
  return { verdict: "fail", words: `HTTP ${status}, and neither GREEN, YELLOW nor RED: ${body.slice(0, 200)}` };
}

/** A program may register a while after it is healthy, so the whole time is waited for it. */
async function askMethod({ method }: Of<"method">, replica: AskedReplica): Promise<Look> {
  const { id: replicaId, environment, service, timeoutMs } = replica;
  const signal = AbortSignal.any([replica.signal, AbortSignal.timeout(timeoutMs)]);
  const answer = JSON.stringify(await replica.methods.ask({ environment, service, replicaId, method }, signal));
  const found = readGveAnswer(answer);
  return found ?? { verdict: "fail", words: `neither GREEN, YELLOW nor RED: ${answer.slice(0, 200)}` };
}

async function askGrpc({ service }: Of<"grpc">, { port, timeoutMs, signal }: AskedReplica): Promise<Look> {
  await using transport = connectGrpc({ address: `grpc://${HOST}:${port}`, keepAliveMs: 0 });
  const { SERVING, UNKNOWN } = grpcHealth.HealthCheckResponse_ServingStatus;
  try {
    const { status } = await createClient(grpcHealth.Health, transport).check({ service }, { timeoutMs, signal });
    const verdict = status === SERVING ? "pass" : status === UNKNOWN ? "inconclusive" : "fail";
    return { verdict, words: statusName(status) };
  } catch (error) {
    const { code, message } = HmsError.from(error);
    if (code !== "UNIMPLEMENTED") throw error;
    return { verdict: "fail", words: `it has no grpc.health.v1 (${message})` };
  }
}

function statusName(status: number): string {
  const names = Object.entries(grpcHealth.HealthCheckResponse_ServingStatus);
  return names.find(([, number]) => number === status)?.[0] ?? `status ${status}`;
}

/** How the program reaches the mesh; that a mesh is away is no finding about the service. */
async function accessOf({ access, signal }: AskedReplica): Promise<MeshAccess | Look> {
  try {
    return await access();
  } catch (error) {
    signal.throwIfAborted();
    const { code, message } = HmsError.from(error);
    if (code !== "UNAVAILABLE" && code !== "DEADLINE_EXCEEDED") throw error;
    return { verdict: "inconclusive", words: `the mesh does not answer: ${message}` };
  }
}

async function askProgram({ command }: Of<"exec">, replica: AskedReplica): Promise<Look> {
  const { id, port, environment, service, revision, timeoutMs } = replica;
  const { manifest, releaseDigest } = revision;
  const mesh = await accessOf(replica);
  if ("verdict" in mesh) return mesh;
  // From here on it is the program's time.
  const signal = AbortSignal.any([replica.signal, AbortSignal.timeout(timeoutMs + 2000)]);
  const asked = {
    taskId: `gate-${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`,
    environment,
    service,
    releaseDigest,
    command,
    env: {
      ...manifest.env,
      HMS_GATE_URL: `http://${HOST}:${port}`,
      HMS_GATE_REPLICA: id,
      HMS_REVISION: String(revision.revision),
    },
    ...(await replica.vault.of(replica, revision)),
    limits: resourceLimits(manifest),
    timeoutMs: BigInt(timeoutMs),
    mesh,
  };
  let output = "";
  for await (const { event } of replica.runtime.runTask(asked, signal)) {
    if (event.case === "output") output = (output + Buffer.from(event.value.data).toString("utf8")).slice(-400);
    if (event.case !== "exit") continue;
    const said = output.trim().split("\n").at(-1) ?? "";
    const words = said === "" ? exitWords(event.value) : `${exitWords(event.value)}: ${said}`;
    if (event.value.code === 0) return { verdict: "pass", words };
    return { verdict: event.value.code === CANNOT_TELL ? "inconclusive" : "fail", words };
  }
  throw new Error("the runtime ended before the program did");
}
