import { ChangeSignal } from "@hms/kernel";
import type { NodeGraces } from "./node-graces.ts";

/** What a data plane said last. */
export interface NodeReport {
  /** The snapshot it serves; 0 if none of ours. */
  appliedVersion: bigint;
  /** Requests still running on endpoints that drain or have left; endpoints with none are left out. */
  inFlight: Readonly<Record<string, number>>;
}

/** One data plane. */
export interface ConnectedNode extends NodeReport {
  readonly nodeId: string;
  /** Epoch milliseconds; undefined if it has not reported since it came. */
  readonly reportedAt: number | undefined;
}

interface NodeState {
  nodeId: string;
  streams: number;
  /** A report that overtook its watch is kept, but counts only with the watch. */
  joined: boolean;
  appliedVersion: bigint;
  inFlight: Readonly<Record<string, number>>;
  reportedAt: number | undefined;
  forget: NodeJS.Timeout | undefined;
}

/** The data planes that are connected: they hold a watch open, or did so within the grace. Memory only. */
export class ConnectedNodes {
  /** Notified whenever a node comes, goes or reports. */
  readonly changes = new ChangeSignal();
  readonly #nodes = new Map<string, NodeState>();
  readonly #reconnectMs: number;

  constructor({ reconnectMs }: Pick<NodeGraces, "reconnectMs">) {
    this.#reconnectMs = reconnectMs;
  }

  /** All connected nodes, in the order of their coming. */
  list(): ConnectedNode[] {
    return [...this.#nodes.values()].filter((node) => node.joined);
  }

  /** Counts one open watch of a node until the signal aborts or the result is called. */
  connect(nodeId: string, appliedVersion: bigint, signal: AbortSignal): () => void {
    const node = this.#node(nodeId);
    node.streams += 1;
    node.joined = true;
    if (node.reportedAt === undefined) node.appliedVersion = appliedVersion;
    clearTimeout(node.forget);
    this.changes.notify();
    let open = true;
    const leave = () => {
      if (!open) return;
      open = false;
      node.streams -= 1;
      if (node.streams === 0) this.#forgetSoon(node);
    };
    // A reader in this process may abort and never ask for more: then its stream never comes to its end.
    signal.addEventListener("abort", leave, { once: true });
    return leave;
  }

  /** Takes a node's report; one without a watch is kept for the grace only. */
  report(nodeId: string, { appliedVersion, inFlight }: NodeReport): void {
    const known = this.#nodes.has(nodeId);
    const node = this.#node(nodeId);
    if (!known) this.#forgetSoon(node);
    Object.assign(node, { appliedVersion, inFlight, reportedAt: Date.now() });
    this.changes.notify();
  }

  #node(nodeId: string): NodeState {
    let node = this.#nodes.get(nodeId);
    if (node === undefined) {
      const nothing = { appliedVersion: 0n, inFlight: {}, reportedAt: undefined };
      node = { nodeId, streams: 0, joined: false, ...nothing, forget: undefined };
      this.#nodes.set(nodeId, node);
    }
    return node;
  }

  #forgetSoon(node: NodeState): void {
    clearTimeout(node.forget);
    node.forget = setTimeout(() => {
      this.#nodes.delete(node.nodeId);
      this.changes.notify();
    }, this.#reconnectMs).unref();
  }

  /** Forgets everybody at once. */
  [Symbol.dispose](): void {
    for (const node of this.#nodes.values()) clearTimeout(node.forget);
    this.#nodes.clear();
  }
}
