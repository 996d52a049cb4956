import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  create,
  type DescMessage,
  fromJson,
  type JsonValue,
  type MessageInitShape,
  type MessageShape,
  toJson,
} from "@bufbuild/protobuf";
import { hostEnvironment } from "@hms/config";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { IsolationReport, ReplicaKeeperOptions } from "../../src/index.ts";

type Methods = typeof agent.AgentService.method;
type Name = keyof Methods;
type Input<N extends Name> = MessageInitShape<Methods[N]["input"]>;
type Output<N extends Name> = MessageShape<Methods[N]["output"]>;

/** Whose keeper it is. */
export type Identity = "root" | "nobody";

/** Which keeper to start. */
export interface KeeperSetup {
  identity: Identity;
  data: string;
  home: string;
  portBase: number;
  path?: string;
  /** Further variables of the operator's. */
  env?: Record<string, string>;
  options?: Partial<Pick<ReplicaKeeperOptions, "retention" | "readRate">> & { report?: Partial<IsolationReport> };
}

interface Reply {
  id?: number;
  message?: JsonValue;
  done?: boolean;
  error?: { code: HmsError["code"]; message: string; details: object };
  warning?: string;
  ready?: IsolationReport;
}

/** A keeper in another process. */
export class KeeperClient {
  readonly child: ChildProcess;
  readonly warnings: string[] = [];
  report!: IsolationReport;
  readonly #pending = new Map<number, (reply: Reply) => void>();
  #lastId = 0;

  private constructor(child: ChildProcess) {
    this.child = child;
    child.on("message", (reply: Reply) => {
      if (reply.warning) this.warnings.push(reply.warning);
      if (reply.id !== undefined) this.#pending.get(reply.id)?.(reply);
    });
  }

  static async start(setup: KeeperSetup): Promise<KeeperClient> {
    const drop = setup.identity === "nobody" && process.getuid?.() === 0;
    const words = drop ? ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] : [];
    const script = new URL("keeper-host.ts", import.meta.url).pathname;
    const options = JSON.stringify(setup.options ?? {});
    const [command = "", ...args] = [...words, process.execPath, script, setup.data, String(setup.portBase), options];
    const env = {
      PATH: setup.path ?? hostEnvironment().path,
      HOME: setup.home,
      XDG_CONFIG_HOME: `${setup.home}/.config`,
      OPERATOR_SECRET: "only-the-operator",
      ...setup.env,
    };
    const child = spawn(command, args, { env, stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const client = new KeeperClient(child);
    const ready = new Promise<IsolationReport>((resolve, reject) => {
      child.on("message", (reply: Reply) => reply.ready && resolve(reply.ready));
      child.once("exit", (code, signal) => reject(new Error(`the keeper ended: ${code ?? signal}`)));
    });
    client.report = await ready;
    return client;
  }

  async call<N extends Name>(name: N, request: Input<N>): Promise<Output<N>> {
    for await (const message of this.stream(name, request)) return message;
    throw new Error("no answer");
  }

  async *stream<N extends Name>(name: N, request: Input<N>, signal?: AbortSignal): AsyncGenerator<Output<N>> {
    const { input, output } = agent.AgentService.method[name] as { input: DescMessage; output: DescMessage };
    const json = toJson(input, create(input, request as never));
    for await (const message of this.#exchange(name, json, signal)) yield fromJson(output, message) as Output<N>;
  }

  async command(name: "suspend" | "detach" | "memory"): Promise<JsonValue | undefined> {
    let last: JsonValue | undefined;
    for await (const message of this.#exchange(name, {})) last = message;
    return last;
  }

  /** Ends the process as a crash would; its replicas go on. */
  async crash(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill("SIGKILL");
    await once(this.child, "exit");
  }

  async *#exchange(method: string, request: JsonValue, signal?: AbortSignal): AsyncGenerator<JsonValue> {
    const id = ++this.#lastId;
    const replies: Reply[] = [];
    let wake = () => {};
    this.#pending.set(id, (reply) => {
      replies.push(reply);
      wake();
    });
    const cancel = () => void this.child.send({ id, cancel: true });
    signal?.addEventListener("abort", cancel, { once: true });
    this.child.send({ id, method, request });
    let ended = false;
    try {
      for (;;) {
        const reply = replies.shift();
        if (!reply) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        ended = reply.done === true || reply.error !== undefined;
        if (reply.error) throw new HmsError(reply.error.code, reply.error.message, reply.error.details);
        if (reply.done) return;
        if (reply.message !== undefined) yield reply.message;
      }
    } finally {
      this.#pending.delete(id);
      if (!ended && this.child.connected) cancel();
    }
  }
}
