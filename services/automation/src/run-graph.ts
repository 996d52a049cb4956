import { checkGraph, type RunGraph } from "@hms/durable";
import { type FieldViolation, HmsError, type Kernel, type MethodEntry } from "@hms/kernel";
import { CALL, calledMethod, effectOf, effectProblem, tellsSecrets } from "./method-call.ts";
import { ROLLOUT, ROLLOUT_QUEUE, ROLLOUT_VERBS } from "./rollout-step.ts";

/** A graph that can run, and the queues of others that it needs. */
export interface ReadGraph {
  readonly graph: RunGraph;
  /** By name, with the path of a node that names it. */
  readonly queues: ReadonlyMap<string, string>;
}

/** The queue of the platform's own worker. */
export const OWN_QUEUE = "default";
/** The queues whose steps the platform does. */
export const OWN_QUEUES: readonly string[] = [OWN_QUEUE, ROLLOUT_QUEUE];

type Node = Record<string, unknown>;
type Problem = (field: string, description: string) => void;

const isRecord = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Reads a graph as it was sent: steps that call a method get the effect that its contract says.
 * @throws HmsError INVALID_ARGUMENT with every problem and its path; UNAVAILABLE if nobody can say what a method is.
 */
export async function readGraph(kernel: Kernel, asked: unknown, environment: string): Promise<ReadGraph> {
  const problems: FieldViolation[] = [];
  const queues = new Map<string, string>();
  const problem: Problem = (field, description) => void problems.push({ field, description });
  const reader = new GraphReader(kernel, environment, { queues, problem });
  const graph = await reader.fill(asked, "");
  for (const found of engineProblems(graph)) {
    if (!problems.some(({ field }) => field === found.field)) problems.push(found);
  }
  if (problems.length > 0) throw invalid(problems);
  return { graph: graph as RunGraph, queues };
}

function engineProblems(graph: unknown): readonly FieldViolation[] {
  try {
    checkGraph(graph);
    return [];
  } catch (error) {
    return HmsError.from(error).details.fieldViolations ?? [];
  }
}

function invalid(problems: readonly FieldViolation[]): HmsError {
  const list = problems.map(({ field, description }) => `  ${field}: ${description}`).join("\n");
  return new HmsError("INVALID_ARGUMENT", `The graph cannot run:\n${list}`, {
    reason: "INVALID_GRAPH",
    fieldViolations: problems.map(({ field, description }) => ({ field: `graph.${field}`, description })),
  });
}

/** Fills in what contracts say, and reports what the engine cannot know. */
class GraphReader {
  readonly #kernel: Kernel;
  readonly #environment: string;
  readonly #queues: Map<string, string>;
  readonly #problem: Problem;

  constructor(kernel: Kernel, environment: string, found: { queues: Map<string, string>; problem: Problem }) {
    this.#kernel = kernel;
    this.#environment = environment;
    this.#queues = found.queues;
    this.#problem = found.problem;
  }

  async fill(graph: unknown, path: string): Promise<unknown> {
    if (!isRecord(graph) || !isRecord(graph.nodes)) return graph;
    const nodes = Object.entries(graph.nodes).map(
      async ([name, node]) => [name, isRecord(node) ? await this.#node(node, `${path}nodes.${name}`) : node] as const,
    );
    return { ...graph, nodes: Object.fromEntries(await Promise.all(nodes)) };
  }

  async #node(node: Node, path: string): Promise<Node> {
    const { kind = "step", queue = OWN_QUEUE, uses } = node;
    if (kind !== "step") return await this.#withoutWorker(node, path);
    if (typeof uses !== "string") return node;
    if (uses.startsWith(ROLLOUT)) return this.#rollout(node, uses, path);
    if (queue === ROLLOUT_QUEUE) this.#problem(`${path}.queue`, `is the platform's, for rollouts: name one of yours`);
    if (queue !== OWN_QUEUE) {
      if (uses.startsWith(CALL)) {
        this.#problem(`${path}.queue`, `calls of methods are done by the platform's own worker: leave the queue out`);
      } else if (typeof queue === "string" && !this.#queues.has(queue)) this.#queues.set(queue, `${path}.queue`);
      return node;
    }
    return await this.#call(node, uses, path);
  }

  async #withoutWorker(node: Node, path: string): Promise<Node> {
    if (node.queue !== undefined && node.queue !== OWN_QUEUE) {
      this.#problem(`${path}.queue`, "is for steps: this holds no worker, leave it out");
    }
    const inner = isRecord(node.with) ? node.with.graph : undefined;
    if (node.kind !== "run" || !isRecord(inner)) return node;
    return { ...node, with: { ...(node.with as Node), graph: await this.fill(inner, `${path}.with.graph.`) } };
  }

  async #call(node: Node, uses: string, path: string): Promise<Node> {
    const name = calledMethod(uses);
    if (name === undefined) {
      const known =
        "the platform's own worker calls methods: write call/SERVICE/METHOD, as in call/hms.cdf.debate.v1.DebateService/CreateDebate";
      this.#problem(`${path}.uses`, `is not known here; ${known}, or name the queue of a worker of yours`);
      return node;
    }
    const entry = await this.#kernel.resolve({ ...name, environment: this.#environment });
    if (entry === undefined) return this.#unknown(node, `${name.service}/${name.method}`, path);
    if (entry.desc.methodKind !== "unary") {
      this.#problem(
        `${path}.uses`,
        `names a stream; a step calls a method with one answer (a rollout is "uses: rollout/Deploy", "rollout/Restart", …)`,
      );
    }
    if (tellsSecrets(entry)) {
      this.#problem(`${path}.uses`, `takes or answers a secret, and runs show what their steps were given and gave`);
    }
    return this.#effect(node, entry, path);
  }

  /** A rollout that has begun goes on by itself, so whoever begins its step again follows it. */
  #rollout(node: Node, uses: string, path: string): Node {
    const verb = uses.slice(ROLLOUT.length);
    if (!ROLLOUT_VERBS.includes(verb)) {
      const known = ROLLOUT_VERBS.map((each) => `${ROLLOUT}${each}`).join(", ");
      this.#problem(`${path}.uses`, `is no rollout; there are ${known}`);
    }
    const { queue = ROLLOUT_QUEUE, effect = "resumable" } = node;
    if (queue !== ROLLOUT_QUEUE) this.#problem(`${path}.queue`, "is the platform's for rollouts: leave it out");
    if (effect !== "resumable") this.#problem(`${path}.effect`, `of rollouts is resumable: leave it out`);
    return { ...node, queue: ROLLOUT_QUEUE, effect: "resumable" };
  }

  #unknown(node: Node, method: string, path: string): Node {
    if (node.effect === undefined) {
      const why = `is missing, and nobody offers ${method} in the environment ${this.#environment} now, so that its contract cannot say it`;
      this.#problem(`${path}.effect`, `${why}: correct "uses", or write idempotent or at_most_once`);
    }
    return node;
  }

  #effect(node: Node, entry: MethodEntry, path: string): Node {
    if (node.effect === undefined) return { ...node, effect: effectOf(entry) };
    if (node.effect === "idempotent" || node.effect === "resumable") {
      const problem = effectProblem(entry, node.effect);
      if (problem) this.#problem(`${path}.effect`, problem);
    }
    return node;
  }
}
