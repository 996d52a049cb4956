import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { mesh } from "@hms/contracts";
import type { ListenerSet } from "@hms/handover";
import type { ProxyEngine } from "@hms/proxy";
import type { Logger } from "@hms/telemetry";

const HTTP_PORT = 80;

/** The mesh addresses of services; each is opened when its name is first asked for, and at every later start. */
export class VirtualAddresses {
  readonly #engine: ProxyEngine;
  readonly #listeners: ListenerSet;
  readonly #file: string;
  readonly #log: Logger;
  readonly #opening = new Map<string, Promise<void>>();

  constructor(parts: { engine: ProxyEngine; listeners: ListenerSet; file: string; log: Logger }) {
    this.#engine = parts.engine;
    this.#listeners = parts.listeners;
    this.#file = parts.file;
    this.#log = parts.log;
    mkdirSync(dirname(this.#file), { recursive: true, mode: 0o700 });
  }

  /** The services whose addresses were open before, as "environment/name". */
  remembered(): Set<string> {
    try {
      return new Set(JSON.parse(readFileSync(this.#file, "utf8")) as string[]);
    } catch {
      // First start, or spoilt: names are opened when they are asked for.
      return new Set();
    }
  }

  /** Resolves once the service's address accepts connections, on port 80 and on the ports it declares. */
  open(service: mesh.MeshServiceEntry): Promise<void> {
    const ports = [HTTP_PORT, ...service.ports.filter((port) => port !== HTTP_PORT)];
    return Promise.all(ports.map((port) => this.#openPort(service, port))).then(() => {});
  }

  #openPort(service: mesh.MeshServiceEntry, port: number): Promise<void> {
    const key = `${service.vip}:${port}`;
    const known = this.#opening.get(key);
    if (known) return known;
    const server = this.#engine.createServer(this.#engine.serviceHandler(service.environment, service.name));
    const opening = this.#listeners.listen(server, service.vip, port).then(
      () => this.#remember(service),
      (error) => {
        this.#opening.delete(key);
        this.#log.error("a mesh address could not be opened", { address: service.vip, port, error });
        if (port === HTTP_PORT) throw error;
      },
    );
    this.#opening.set(key, opening);
    return opening;
  }

  #remember({ environment, name }: mesh.MeshServiceEntry): void {
    const all = this.remembered();
    const key = `${environment}/${name}`;
    if (all.has(key)) return;
    writeFileSync(`${this.#file}.new`, JSON.stringify([...all, key]), { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
  }
}
