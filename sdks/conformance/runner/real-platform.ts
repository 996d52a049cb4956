import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type EmptyDatabase, openEmptyDatabase, sharedPostgres } from "@hms/testkit";
import type { PlatformOrder } from "./platform-process.ts";

const PROGRAM = fileURLToPath(new URL("./platform-process.ts", import.meta.url));

/** The real registry and hms.sys.integration.v1 on PostgreSQL, in a process of their own that can be killed. */
export class RealPlatform {
  readonly #place: Pick<PlatformOrder, "socket" | "token">;
  #database: EmptyDatabase | undefined;
  #child: ChildProcess | undefined;

  constructor(place: Pick<PlatformOrder, "socket" | "token">) {
    this.#place = place;
  }

  /** Starts it on a database of its own; resolves when it answers. */
  async start(): Promise<void> {
    this.#database = await openEmptyDatabase();
    await this.#spawn(this.#database.name);
  }

  async #spawn(database: string): Promise<void> {
    const { paths, databaseUrl } = await sharedPostgres();
    const order: PlatformOrder = { ...this.#place, paths, database, ...(databaseUrl ? { databaseUrl } : {}) };
    const child = spawn(process.execPath, [PROGRAM, JSON.stringify(order)], { stdio: ["pipe", "pipe", "pipe"] });
    this.#child = child;
    let complaints = "";
    child.stderr.on("data", (text) => {
      complaints = (complaints + text).slice(-4000);
    });
    await new Promise<void>((resolve, reject) => {
      child.stdout.once("data", () => resolve());
      child.once("exit", () => reject(new Error(`The platform has ended: ${complaints}`)));
    });
  }

  /** Kills it (`kill -9`) and starts it again; resolves when it answers. */
  async restart(): Promise<void> {
    await this.#kill();
    if (this.#database) await this.#spawn(this.#database.name);
  }

  async #kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** Ends it and drops its database. */
  async stop(): Promise<void> {
    await this.#kill();
    await this.#database?.[Symbol.asyncDispose]();
  }
}
