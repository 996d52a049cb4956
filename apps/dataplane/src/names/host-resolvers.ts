import { readFileSync, statSync } from "node:fs";

const LOOK_EVERY_MS = 1000;
const MOST = 3;

/** The machine's own name servers, read again whenever the file has changed. */
export class HostResolvers {
  readonly #file: string;
  readonly #isOurs: (address: string) => boolean;
  #servers: string[] = [];
  #lookedAt = Number.NEGATIVE_INFINITY;
  #seen = "";

  /** Servers that are ours are left out: asking them would be a loop. */
  constructor(isOurs: (address: string) => boolean, file = "/etc/resolv.conf") {
    this.#isOurs = isOurs;
    this.#file = file;
  }

  /** Up to three addresses in the order of the file, as of a second ago at most. */
  list(): readonly string[] {
    const now = performance.now();
    if (now - this.#lookedAt < LOOK_EVERY_MS) return this.#servers;
    this.#lookedAt = now;
    try {
      const { mtimeMs, ino, size } = statSync(this.#file);
      const seen = `${mtimeMs} ${ino} ${size}`;
      if (seen !== this.#seen) this.#servers = this.#read();
      this.#seen = seen;
    } catch {
      // No such file: no resolvers.
      this.#servers = [];
      this.#seen = "";
    }
    return this.#servers;
  }

  #read(): string[] {
    const lines = readFileSync(this.#file, "utf8").split("\n");
    const named = lines.map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? "");
    return named.filter((server) => server !== "" && !this.#isOurs(server)).slice(0, MOST);
  }
}
