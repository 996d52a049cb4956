import { type ChildProcess, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { PartName } from "@hms/config";
import { partSpiffeId } from "@hms/parts";
import type { ConnectFramesOptions } from "@hms/wire";
import type { HostAnswer, HostQuestion } from "./host-messages.ts";
import { tempFolder } from "./temp-folder.ts";
import { type TestAuthority, type TestCertificate, testAuthority } from "./test-authority.ts";

/** How a hosted service is called. */
export interface HostedService extends AsyncDisposable {
  readonly address: string;
  readonly tls?: ConnectFramesOptions["tls"];
  /** The key of the parts. */
  readonly key: Uint8Array;
}

/** What a host is asked to serve. */
export interface HostedOptions {
  readonly part: PartName;
  readonly via: "process" | "process-mtls";
  /** For the program; plain JSON. */
  readonly options: unknown;
}

interface Certificates {
  readonly authority: TestAuthority;
  readonly byPart: Map<string, TestCertificate>;
}

/**
 * A process of its own for services under test, by a program that calls `hostServices`; started when the first test
 * asks for it, one for all tests of a file.
 */
export class ServiceHost implements AsyncDisposable {
  readonly #program: URL;
  readonly #waiting = new Map<number, (answer: HostAnswer) => void>();
  #child: ChildProcess | undefined;
  #certificates: Certificates | undefined;
  #lastId = 0;

  constructor(program: URL) {
    this.#program = program;
  }

  /** Opens a service there; disposing the answer ends it. @throws Error with what the host says if it cannot. */
  async open({ part, via, options }: HostedOptions): Promise<HostedService> {
    this.#lastId += 1;
    const id = this.#lastId;
    const key = randomBytes(32);
    const folder = via === "process" ? tempFolder() : undefined;
    const tls = folder ? undefined : { ...this.#certificate(part), ca: this.#authority.authority.ca };
    const wanted = folder ? `unix:${folder.path}/p.sock` : "tls://127.0.0.1:0";
    const { address = "" } = await this.#ask({
      id,
      scene: { part, address: wanted, tls, key: key.toString("hex"), options },
    });
    return {
      address,
      key,
      ...(tls ? { tls: this.#caller(part) } : {}),
      [Symbol.asyncDispose]: async () => {
        await this.#ask({ id });
        folder?.[Symbol.dispose]();
      },
    };
  }

  get #authority(): Certificates {
    this.#certificates ??= { authority: testAuthority(), byPart: new Map() };
    return this.#certificates;
  }

  #certificate(part: PartName | "server"): TestCertificate {
    const { authority, byPart } = this.#authority;
    const known = byPart.get(part) ?? authority.issue(`URI:${partSpiffeId("test", part)}`);
    byPart.set(part, known);
    return known;
  }

  /** Who calls is the server, and expects the part. */
  #caller(part: PartName): NonNullable<ConnectFramesOptions["tls"]> {
    const { key, cert } = this.#certificate("server");
    const { ca } = this.#authority.authority;
    return { key: () => key, cert: () => cert, ca: () => ca, expectedId: partSpiffeId("test", part) };
  }

  async #ask(question: HostQuestion): Promise<HostAnswer> {
    const child = this.#running();
    const answered = Promise.withResolvers<HostAnswer>();
    this.#waiting.set(question.id, answered.resolve);
    child.send(question);
    const answer = await answered.promise;
    if (answer.failure !== undefined) throw new Error(`The host of ${this.#program.pathname} says: ${answer.failure}`);
    return answer;
  }

  #running(): ChildProcess {
    if (this.#child) return this.#child;
    const child = fork(this.#program, { stdio: ["ignore", "inherit", "inherit", "ipc"], execArgv: [] });
    child.on("message", (answer: HostAnswer) => {
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    child.on("exit", (code, signal) => {
      for (const [id, settle] of this.#waiting) settle({ id, failure: `it ended with ${signal ?? code}` });
      this.#waiting.clear();
      this.#child = undefined;
    });
    this.#child = child;
    return child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
}
