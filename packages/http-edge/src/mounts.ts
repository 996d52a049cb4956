import type { IncomingMessage, ServerResponse } from "node:http";
import { HmsError, type Principal } from "@hms/kernel";

/** Who may use what is mounted, and what that leaves in the audit log: what a contract's rule says of a method. */
export interface MountRule {
  /** resource:verb; unused if it is public. */
  readonly permission: string;
  /** Names the resource; default none. */
  readonly resource?: string;
  readonly auditLevel: "none" | "metadata";
  /** Whether a request may change something. */
  readonly mutates: boolean;
  /** True: the foreign protocol has credentials of its own; nobody is authenticated or asked for permission. */
  readonly public?: true;
  /** True: people open it in a browser, which is challenged for a token as password. */
  readonly browser?: true;
}

/** What a mounted handler is told of a request beside the request itself. */
export interface MountContext {
  readonly principal: Principal;
  readonly requestId: string;
  readonly environment: string;
  /** The path below the prefix, as it was sent, with its slash; empty for the prefix itself. */
  readonly path: string;
  /** Without "?". */
  readonly query: string;
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal;
  /** The whole body, within the edge's limits of size and time. */
  readBody(): Promise<Buffer>;
}

/** Answers requests of a foreign protocol; what it throws is told the client as any error if nothing has been sent. */
export type MountHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  context: MountContext,
) => void | Promise<void>;

/** Something mounted. */
export interface Mount {
  readonly prefix: string;
  readonly rule: MountRule;
  readonly handler: MountHandler;
}

/** What serves foreign protocols below a prefix each: the longest prefix that fits takes a request. */
export class Mounts {
  readonly #mounts: Mount[] = [];

  /**
   * Adds one.
   * @throws HmsError INVALID_ARGUMENT if the prefix is no path, ALREADY_EXISTS if it is taken
   */
  add(mount: Mount): void {
    if (!/^(?:\/[A-Za-z0-9._~-]+)+$/.test(mount.prefix)) {
      throw new HmsError("INVALID_ARGUMENT", `A mount's prefix is a path like "/oidc", not "${mount.prefix}".`);
    }
    if (this.#mounts.some(({ prefix }) => prefix === mount.prefix)) {
      throw new HmsError("ALREADY_EXISTS", `Something is mounted at ${mount.prefix} already.`);
    }
    this.#mounts.push(mount);
    this.#mounts.sort((a, b) => b.prefix.length - a.prefix.length);
  }

  /** What takes a path. */
  find(path: string): Mount | undefined {
    return this.#mounts.find(({ prefix }) => path.startsWith(prefix) && isEnd(path, prefix.length));
  }
}

function isEnd(path: string, at: number): boolean {
  return at === path.length || path.charCodeAt(at) === 47;
}
