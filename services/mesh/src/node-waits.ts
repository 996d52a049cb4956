import type { ConnectedNode, ConnectedNodes } from "./connected-nodes.ts";
import { nodesBehind } from "./errors.ts";
import type { NodeGraces } from "./node-graces.ts";

/** What nodes say of endpoints that drain. */
interface DrainState {
  /** Nodes that have not reported since they serve the version in which the endpoints drain. */
  behind: string[];
  /** Requests still running, by endpoint, over all nodes. */
  left: Record<string, number>;
}

/** Sums up what still runs on endpoints that drain from a version on. */
function drainState(nodes: readonly ConnectedNode[], endpointIds: Iterable<string>, version: bigint): DrainState {
  const behind = nodes.filter((node) => node.reportedAt === undefined || node.appliedVersion < version);
  const left: Record<string, number> = {};
  for (const id of endpointIds) {
    const running = nodes.reduce(
      (sum, { inFlight }) => sum + (Object.hasOwn(inFlight, id) ? (inFlight[id] ?? 0) : 0),
      0,
    );
    if (running > 0) left[id] = running;
  }
  return { behind: behind.map(({ nodeId }) => nodeId), left };
}

/** Waits for what connected data planes do; by events, never by asking again. */
export class NodeWaits {
  readonly #nodes: ConnectedNodes;
  readonly #graces: NodeGraces;
  readonly #startedAt = performance.now();

  constructor(nodes: ConnectedNodes, graces: NodeGraces) {
    this.#nodes = nodes;
    this.#graces = graces;
  }

  /**
   * How many nodes serve the version, as soon as all connected ones do; 0 if none is connected nor comes within the
   * grace.
   * @throws the signal's reason once it aborts.
   */
  async applied(version: bigint, signal: AbortSignal): Promise<number> {
    for (;;) {
      const nodes = this.#nodes.list();
      if (nodes.length === 0) {
        if (!(await this.#someNode(signal))) return 0;
      } else if (nodes.every((node) => node.appliedVersion >= version)) {
        return nodes.length;
      } else {
        await this.#nodes.changes.next(signal);
      }
    }
  }

  /**
   * What still runs on endpoints that drain from `version` on: nothing as soon as every connected node said so, the
   * rest when the time is over.
   * @throws HmsError DEADLINE_EXCEEDED if a node has not said by then; the signal's reason once it aborts.
   */
  async drained(
    endpointIds: ReadonlySet<string>,
    { version, timeoutMs, signal }: { version: bigint; timeoutMs: number; signal: AbortSignal },
  ): Promise<Record<string, number>> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const nodes = this.#nodes.list();
      const { behind, left } = drainState(nodes, endpointIds, version);
      if (nodes.length === 0) {
        if (!(await this.#someNode(signal, until))) return {};
      } else if (behind.length === 0 && Object.keys(left).length === 0) {
        return {};
      } else if (!(await this.#nodes.changes.next(signal, until - performance.now()))) {
        if (behind.length > 0) throw nodesBehind(behind);
        return left;
      }
    }
  }

  /** True once a node is connected, false if none comes. */
  async #someNode(signal: AbortSignal, latest = Number.POSITIVE_INFINITY): Promise<boolean> {
    const { idleMs, startMs } = this.#graces;
    const until = Math.min(Math.max(performance.now() + idleMs, this.#startedAt + startMs), latest);
    while (this.#nodes.list().length === 0) {
      if (!(await this.#nodes.changes.next(signal, until - performance.now()))) return false;
    }
    return true;
  }
}
