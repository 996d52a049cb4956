import { Agent, request } from "node:http";
import { fromBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import type { Client } from "@hms/kernel";

/** What a request through the data plane got. */
export interface Answer {
  endpointId: string;
  version: string;
  /** Set if it got no proper answer. */
  failure?: string;
}

/** A data plane in miniature: follows snapshots, reports, and sends each request to an active endpoint of the newest. */
export class TestDataPlane implements AsyncDisposable {
  /** Every picture of the service it has served, as "1/2-abc active". */
  readonly pictures: mesh.Endpoint[][] = [];
  readonly answers: Answer[] = [];
  entry: mesh.MeshServiceEntry | undefined;
  readonly #client: Client<typeof mesh.MeshService>;
  readonly #service: string;
  readonly #end = new AbortController();
  readonly #inFlight = new Map<string, number>();
  readonly #agent = new Agent({ keepAlive: false });
  #version = 0n;
  #timer: NodeJS.Timeout | undefined;
  #turn = 0;
  #running: Promise<void>;
  #open = 0;

  constructor(client: Client<typeof mesh.MeshService>, service: string) {
    this.#client = client;
    this.#service = service;
    this.#running = this.#follow();
  }

  get active(): mesh.Endpoint[] {
    return (this.entry?.endpoints ?? []).filter(({ state }) => state === mesh.EndpointState.ACTIVE);
  }

  /** Sends a request every so many milliseconds while anything is active. */
  load(everyMs: number): void {
    this.#timer = setInterval(() => this.#send(), everyMs);
  }

  /** Ends the load, waits for what runs, and answers with what failed. */
  async stopLoad(): Promise<Answer[]> {
    clearInterval(this.#timer);
    while (this.#open > 0) await new Promise((resolve) => setImmediate(resolve));
    return this.answers.filter(({ failure }) => failure !== undefined);
  }

  async #follow(): Promise<void> {
    const signal = this.#end.signal;
    while (!signal.aborted) {
      try {
        const known = { nodeId: "test-node", knownVersion: this.#version };
        for await (const { snapshot } of this.#client.watchSnapshots(known, { signal })) {
          if (snapshot) await this.#apply(snapshot);
        }
      } catch {
        // The server is away; a data plane goes on with what it has.
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async #apply(snapshot: mesh.Snapshot): Promise<void> {
    const { services } = fromBinary(mesh.SnapshotContentSchema, snapshot.content);
    this.entry = services.find(({ name }) => name === this.#service);
    this.pictures.push(this.entry?.endpoints ?? []);
    this.#version = snapshot.version;
    await this.#report();
  }

  async #report(): Promise<void> {
    const active = new Set(this.active.map(({ endpointId }) => endpointId));
    const draining = [...this.#inFlight].filter(([id, count]) => count > 0 && !active.has(id));
    const drainingInFlight = Object.fromEntries(draining);
    const report = { nodeId: "test-node", appliedVersion: this.#version, drainingInFlight };
    await this.#client.reportNode(report).catch(() => {});
  }

  #send(): void {
    const { active } = this;
    const endpoint = active[this.#turn % Math.max(1, active.length)];
    this.#turn += 1;
    if (endpoint === undefined) return;
    const { endpointId, port } = endpoint;
    this.#inFlight.set(endpointId, (this.#inFlight.get(endpointId) ?? 0) + 1);
    this.#open += 1;
    let body = "";
    const end = (failure?: string) => {
      this.#open -= 1;
      this.#inFlight.set(endpointId, (this.#inFlight.get(endpointId) ?? 1) - 1);
      this.answers.push({ endpointId, version: body, ...(failure ? { failure } : {}) });
      if (!this.active.some((each) => each.endpointId === endpointId)) void this.#report();
    };
    const outgoing = request({ host: "127.0.0.1", port, path: "/", agent: this.#agent }, (response) => {
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        body += text;
      });
      response.on("end", () => end(response.statusCode === 200 ? undefined : `HTTP ${response.statusCode}`));
    });
    outgoing.on("error", (error) => end(error.message));
    outgoing.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#end.abort();
    this.#agent.destroy();
    await this.#running;
  }
}
