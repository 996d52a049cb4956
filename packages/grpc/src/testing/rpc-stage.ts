import { join } from "node:path";
import { createClient, type Kernel } from "@hms/kernel";
import { echoContract, echoKernel, tempFolder } from "@hms/testkit";
import { type ServeFramesOptions, serveFrames } from "@hms/wire";
import { type ConnectGrpcOptions, connectGrpc } from "../grpc-transport.ts";
import { httpProtocols } from "../http-protocols.ts";
import { createRpcListener, type RpcListenerOptions } from "../rpc-listener.ts";

/** The contract that the tests call. */
export const contract = echoContract();

/** Servers and clients of one test, ended together by `release`. */
export class RpcStage {
  #stack = new AsyncDisposableStack();

  /** Serves a kernel in all protocols; what is no call is answered "none". */
  async serve(
    options: Partial<ServeFramesOptions> & RpcListenerOptions & { kernel?: Kernel } = {},
  ): Promise<{ address: string; http: string; close: (options?: { graceMs?: number }) => Promise<void> }> {
    const { kernel = echoKernel(contract), openReflection = false, ...frames } = options;
    const rpc = createRpcListener(kernel, { openReflection });
    const also = httpProtocols((request, response) => {
      if (!rpc(request, response)) response.end("none");
    });
    const server = await serveFrames(kernel, { address: "tcp://127.0.0.1:0", graceMs: 2_000, ...frames, also });
    this.#stack.defer(() => server.close({ graceMs: 0 }));
    const { port } = new URL(server.address);
    const secure = server.address.startsWith("tls");
    const http = `${secure ? "https" : "http"}://127.0.0.1:${port}`;
    return { address: `${secure ? "grpcs" : "grpc"}://127.0.0.1:${port}`, http, close: server.close };
  }

  /** A path for a socket file. */
  socketPath(): string {
    return join(this.#stack.use(tempFolder()).path, "a.sock");
  }

  connect(options: ConnectGrpcOptions) {
    const transport = this.#stack.use(connectGrpc(options));
    return { transport, client: createClient(contract, transport) };
  }

  defer(end: () => unknown): void {
    this.#stack.defer(async () => {
      await end();
    });
  }

  async release(): Promise<void> {
    const stack = this.#stack;
    this.#stack = new AsyncDisposableStack();
    await stack.disposeAsync();
  }
}

/** Messages of a stream. */
export async function* each(...values: string[]): AsyncGenerator<{ value: string }> {
  for (const value of values) yield { value };
}

/** What a stream has brought. */
export async function texts(messages: AsyncIterable<{ value: string }>): Promise<string[]> {
  const seen: string[] = [];
  for await (const { value } of messages) seen.push(value);
  return seen;
}
