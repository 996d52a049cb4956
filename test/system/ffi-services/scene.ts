import { waitFor } from "@hms/testkit";
import type { Platform } from "../platform.ts";
import { type Said, tell } from "./deployed.ts";
import type { Asked } from "./orders.ts";

/** Each program, and the service of the other one that it calls. */
export const BOTH_WAYS = [
  ["ledger", "demo.orders", "orders"],
  ["orders", "demo.ledger", "ledger"],
] as const;

/** Who may call whom. */
export const POLICIES = [
  { service: "demo.orders", allowed_roles: ["service:ledger", "auditor"] },
  { service: "demo.stock", method: "GetItem", allowed_roles: ["service:ledger"] },
  { service: "demo.ledger", allowed_roles: ["service:orders", "auditor"] },
];

/** The installation with both programs that the tests share. */
export class Scene {
  readonly platform: Platform;

  constructor(platform: Platform) {
    this.platform = platform;
  }

  /** Lets a program do something; what it says came of it. */
  ask<T>(program: string, asked: Asked): Promise<Said<T>> {
    return tell<T>(this.platform, program, asked);
  }

  /** The same; throws if it came to an error. */
  async answerOf<T>(program: string, asked: Asked): Promise<T> {
    const { answer, error } = await this.ask<T>(program, asked);
    if (error) throw new Error(`${program}, ${JSON.stringify(asked)}: ${error.code} ${error.message}`);
    return answer as T;
  }

  /** The code of a call that a program makes; OK if it succeeds. */
  async codeOf(program: string, asked: Asked): Promise<string> {
    return (await this.ask(program, asked)).error?.code ?? "OK";
  }

  /** Makes a call by REST at the gateway. */
  rest(path: string, { token, body, headers, signal = null }: RestCall): Promise<Response> {
    const all = { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers };
    return fetch(this.platform.url(path), { method: "POST", headers: all, body: JSON.stringify(body), signal });
  }

  /** Ends a program's process as a crash does; waits for the next one, unless told not to. */
  async killReplica(program: string, { wait = true } = {}): Promise<void> {
    const { replicas } = await this.platform.json<{ replicas: { replica: { pid: string } }[] }>("status", program);
    for (const { replica } of replicas) process.kill(Number(replica.pid), "SIGKILL");
    if (wait) await this.running(program);
  }

  /** Waits until a program answers, and its service can be called by the other one. */
  async running(program: string): Promise<void> {
    const caller = BOTH_WAYS.find(([, , callee]) => callee === program);
    const call = { do: "call", service: caller?.[1] ?? "", method: "Add", request: { numbers: [1] } };
    await until(() => this.answerOf(caller?.[0] ?? "", call), `${program} to be back`);
    await until(() => this.answerOf(program, { do: "notes" }), `${program} to answer`);
  }
}

interface RestCall {
  token: string;
  body: object;
  headers?: Record<string, string>;
  signal?: AbortSignal | null;
}

/** Waits until something is so. */
export const until = <T>(act: () => Promise<T>, describe: string) =>
  waitFor(act, { describe, intervalMs: 50, deadlineMs: 60_000 });
