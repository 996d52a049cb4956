import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import type { Language } from "./languages.ts";

/** What a peer is told to do; see README.md. */
export interface Order {
  do: string;
  [argument: string]: unknown;
}

const ANSWER_MS = 30_000;

/** JSON without what some languages take for the end of a line. */
const oneLine = (value: unknown) =>
  JSON.stringify(value).replace(/[\u2028\u2029]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16)}`);

interface Waiter {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

/** One running peer of a language. */
export class PeerProcess {
  readonly language: Language;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #waiting = new Map<number, Waiter>();
  readonly #exited: Promise<void>;
  #next = 1;
  #complaints = "";
  /** False once it has ended. */
  alive = true;

  constructor(language: Language, env: Record<string, string>) {
    this.language = language;
    const [command = "", ...args] = language.command;
    this.#child = spawn(command, args, {
      cwd: language.folder,
      env: { ...process.env, ...language.env, ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#exited = new Promise((resolve) => {
      this.#child.once("close", () => resolve());
      this.#child.once("error", (error) => this.#end(String(error)));
    });
    void this.#exited.then(() => this.#end("the peer has ended"));
    this.#child.stdin.on("error", () => {});
    this.#child.stderr.on("data", (text) => {
      this.#complaints = (this.#complaints + text).slice(-4000);
    });
    // Not readline, which also ends lines at U+2028, as JSON does not.
    let rest = "";
    this.#child.stdout.setEncoding("utf8").on("data", (piece: string) => {
      const lines = (rest + piece).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#answer(line);
    });
  }

  /** Does what the order says; resolves with its result. @throws if the peer cannot, or says nothing for 30 s */
  tell(order: Order): Promise<unknown> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => this.#settle(id)?.reject(this.#error(order, "no answer within 30 s")), ANSWER_MS);
      this.#waiting.set(id, {
        resolve: (result) => {
          clearTimeout(late);
          resolve(result);
        },
        reject: (error) => {
          clearTimeout(late);
          reject(error);
        },
      });
      this.#child.stdin.write(`${oneLine({ id, ...order })}\n`);
    });
  }

  #settle(id: number): Waiter | undefined {
    const waiter = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiter;
  }

  #error(order: Order | undefined, why: string): Error {
    const what = order === undefined ? "" : ` at ${JSON.stringify(order).slice(0, 200)}`;
    return new Error(`${this.language.name} peer${what}: ${why}\n${this.#complaints}`);
  }

  #answer(line: string): void {
    let said: { id: number; result?: unknown; failure?: string };
    try {
      said = JSON.parse(line);
    } catch {
      this.#complaints += `not JSON: ${line.slice(0, 500)}\n`;
      return;
    }
    const waiter = this.#settle(said.id);
    if (said.failure === undefined) waiter?.resolve(said.result);
    else waiter?.reject(this.#error(undefined, said.failure));
  }

  #end(why: string): void {
    this.alive = false;
    for (const [id] of [...this.#waiting]) this.#settle(id)?.reject(this.#error(undefined, why));
  }

  /** Ends the peer without a word (`kill -9`). */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  /** Ends the peer. */
  async stop(): Promise<void> {
    this.#child.stdin.end();
    const hard = setTimeout(() => this.#child.kill("SIGKILL"), 2000);
    await this.#exited;
    clearTimeout(hard);
  }
}
