import { setTimeout as pause } from "node:timers/promises";
import { mismatches } from "./matcher.ts";
import type { Order, PeerProcess } from "./peer-process.ts";
import { RawConnection, type RawServer } from "./raw-connection.ts";
import type { FrameText } from "./raw-frames.ts";
import { expanded, type Scenario, type Step } from "./scenario.ts";

const PATIENCE_MS = 15_000;
const STILL_MS = 150;

/** What a registry of the runner can be told. */
export interface RegistryControl {
  do(what: string, step: Step): Promise<void>;
}

/** Where a scenario is played. */
export interface Stage {
  client: PeerProcess;
  server: PeerProcess;
  /** How its server and client are called in the peers. */
  names: { server: string; client: string };
  /** What `$address` stands for. */
  address: string;
  /** Makes keys and calls of one run differ from those of others. */
  suffix: string;
  /** What further names stand for. */
  own: Record<string, unknown>;
  listener?: RawServer;
  registry?: RegistryControl;
  platform?: { restart(): Promise<void> };
  /** Kills a peer (`kill -9`) and starts it again, without servers and clients. */
  restart(role: "client" | "server"): Promise<PeerProcess>;
}

/** Plays one scenario. */
export class ScenarioRun {
  readonly #stage: Stage;
  readonly #strict: boolean;
  readonly #background = new Map<string, Promise<unknown>>();
  readonly #connections: RawConnection[] = [];
  readonly #further: unknown[] = [];
  /** What `$name` and `{name}` stand for. */
  readonly #names: Record<string, unknown>;
  #lastStream: number | undefined;

  constructor(stage: Stage, scenario: Scenario) {
    this.#stage = stage;
    this.#strict = scenario.strict ?? false;
    this.#names = { ...stage.own, address: stage.address, run: stage.suffix.replace("#", "r") };
  }

  /** Plays every step. @throws at the first that does not come out as expected */
  async play(steps: readonly Step[]): Promise<void> {
    try {
      for (const [at, step] of steps.entries()) {
        try {
          await this.#step(step);
        } catch (error) {
          throw new Error(`Step ${at + 1}, ${JSON.stringify(step).slice(0, 300)}:\n${(error as Error).message}`);
        }
      }
    } finally {
      for (const each of this.#connections) each.close();
      await this.#stopFurther();
      await Promise.allSettled(this.#background.values());
    }
  }

  /** Ends the servers that steps have started. */
  async #stopFurther(): Promise<void> {
    const { server } = this.#stage;
    await Promise.allSettled(this.#further.map((name) => server.tell({ do: "drain", server: name, graceMs: 0 })));
  }

  async #step(step: Step): Promise<void> {
    if (step.on !== undefined) await this.#peerStep(step);
    else if (step.await !== undefined) this.#check(step.expect, await this.#background.get(step.await as string));
    else if (step.together !== undefined) this.#check(step.expect, await this.#together(step.together as string[]));
    else if (step.registry !== undefined)
      await this.#stage.registry?.do(step.registry as string, expanded(step, this.#names) as Step);
    else if (step.platform === "restart") await this.#stage.platform?.restart();
    else if (step.restart !== undefined) await this.#restart(step.restart as "client" | "server");
    else if (step.pauseMs !== undefined) await pause(step.pauseMs as number);
    else await this.#rawStep(step);
  }

  #check(expect: unknown, actual: unknown): void {
    if (expect === undefined) return;
    const wrong = mismatches(expanded(expect, this.#names), actual, this.#strict);
    if (wrong.length > 0) throw new Error(`${wrong.join("\n")}\nin ${JSON.stringify(actual)?.slice(0, 1000)}`);
  }

  /** What several `take` steps have come to, as one. */
  async #together(names: string[]): Promise<{ events: unknown[] }> {
    const taken = await Promise.all(names.map((name) => this.#background.get(name)));
    return { events: taken.flatMap((each) => (each as { events: unknown[] }).events) };
  }

  async #restart(role: "client" | "server"): Promise<void> {
    this.#stage[role] = await this.#stage.restart(role);
  }

  #order(step: Step): Order {
    const { on: _, as: __, until: ___, still: ____, expect: _____, keep: ______, repeat: _______, ...said } = step;
    const { names, suffix } = this.#stage;
    const order = this.#unique(expanded(said, this.#names)) as Order;
    if (order.client === "c") order.client = names.client;
    if (typeof order.server === "string") order.server += suffix;
    if (typeof order.call === "string") order.call += suffix;
    return order;
  }

  /** Keys of this run only, wherever they stand. */
  #unique(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((each) => this.#unique(each));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, each]) => [
        name,
        name === "key" && typeof each === "string" ? each + this.#stage.suffix : this.#unique(each),
      ]),
    );
  }

  async #peerStep(step: Step): Promise<void> {
    const peer = step.on === "client" ? this.#stage.client : this.#stage.server;
    const order = this.#order(step);
    if (order.do === "serve" && step.server !== "s") this.#further.push(order.server);
    if (step.as !== undefined) {
      const running = peer.tell(order);
      running.catch(() => {});
      this.#background.set(step.as as string, running);
      return;
    }
    if (step.repeat !== undefined) this.#check(step.expect, await this.#outcomes(peer, step));
    else if (step.until) await this.#until(() => peer.tell(order), step.expect);
    else this.#keep(step, await peer.tell(order));
    if (step.still) {
      await pause(STILL_MS);
      this.#check(step.expect, await peer.tell(order));
    }
  }

  /** Calls one after the other, counted by their codes. */
  async #outcomes(peer: PeerProcess, step: Step): Promise<{ outcomes: Record<string, number> }> {
    const outcomes: Record<string, number> = {};
    for (let made = 0; made < Number(step.repeat); made += 1) {
      const { error } = (await peer.tell(this.#order(step))) as { error?: { code: string } };
      const code = error?.code ?? "OK";
      outcomes[code] = (outcomes[code] ?? 0) + 1;
    }
    return { outcomes };
  }

  /** Checks what came, and keeps parts of it under names for later steps. */
  #keep({ expect, keep = {} }: Step, actual: unknown): void {
    const { error } = (actual ?? {}) as { error?: unknown };
    if (expect === undefined && error !== undefined) throw new Error(`it failed: ${JSON.stringify(error)}`);
    this.#check(expect, actual);
    for (const [name, part] of Object.entries(keep as Record<string, string>)) {
      this.#names[name] = (actual as Record<string, unknown>)[part];
    }
  }

  async #until(ask: () => Promise<unknown>, expect: unknown): Promise<void> {
    for (const giveUpAt = Date.now() + PATIENCE_MS; ; ) {
      const actual = await ask();
      if (mismatches(expanded(expect, this.#names), actual, this.#strict).length === 0) return;
      if (Date.now() > giveUpAt) this.#check(expect, actual);
      await pause(5);
    }
  }

  async #connection(): Promise<RawConnection> {
    const known = this.#connections.at(-1);
    if (known !== undefined) return known;
    const made = this.#stage.listener
      ? await this.#stage.listener.accept()
      : await RawConnection.to(this.#stage.address);
    this.#connections.push(made);
    return made;
  }

  async #rawStep(step: Step): Promise<void> {
    if (step.accept || step.reconnect) {
      const { listener, address } = this.#stage;
      this.#connections.push(listener ? await listener.accept() : await RawConnection.to(address));
      return;
    }
    const connection = await this.#connection();
    if (step.write !== undefined) {
      const written = this.#unique(expanded(step.write, { last: this.#lastStream }));
      connection.write(written, step.pieces as number | undefined);
    } else if (step.read !== undefined)
      await this.#read(connection, step.read as FrameText & { anyConnection?: boolean });
    else if (step.silent !== undefined) await connection.silent(step.silent as { stream: number });
    else if (step.closed) await connection.closed();
    else if (step.close) connection.close();
    else throw new Error("Nobody knows what this step means.");
  }

  async #read(connection: RawConnection, frame: FrameText & { anyConnection?: boolean }): Promise<void> {
    const { anyConnection, ...expected } = frame;
    const wanted = expanded(expected) as FrameText;
    const on = anyConnection ? await this.#whereItComes(wanted) : connection;
    const came = await on.read(wanted);
    if (came.kind === "request") this.#lastStream = came.stream;
  }

  /** The connection on which a frame of this kind has come, perhaps a further one, which is greeted then. */
  async #whereItComes(wanted: FrameText): Promise<RawConnection> {
    for (const giveUpAt = Date.now() + PATIENCE_MS; Date.now() < giveUpAt; await pause(2)) {
      const further = this.#stage.listener?.accepted();
      if (further) {
        further.write("SERVER_HELLO");
        this.#connections.push(further);
      }
      for (const each of this.#connections) {
        if (each.has(wanted)) {
          this.#connections.push(each);
          return each;
        }
      }
    }
    throw new Error(`No ${wanted.kind} came on any connection.`);
  }
}
