import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { registry } from "@hms/contracts";
import {
  anonymous,
  type Client,
  componentPrincipal,
  createClient,
  HmsError,
  implement,
  Kernel,
  type ServiceImplementation,
} from "@hms/kernel";
import { type ConnectSocketOptions, type SocketServer, type SocketTransport, serveSocket } from "./index.ts";
import { FrameTransport } from "./socket-transport.ts";

/** Handlers of the registry contract, which the wire's tests use because it has unary and streaming methods. */
export type RegistryHandlers = ServiceImplementation<typeof registry.RegistryService>;

/** A client of it. */
export type RegistryClient = Client<typeof registry.RegistryService>;

/** The token that the test kernel knows. */
export const TOKEN = "secret";

/** Handlers that are not given are not part of a test. */
function registryKernel(own: Partial<RegistryHandlers>): Kernel {
  const unused = () => {
    throw new HmsError("UNIMPLEMENTED", "Not part of this test.");
  };
  const kernel = new Kernel({
    identity: { authenticate: ({ token }) => (token === TOKEN ? componentPrincipal("test") : anonymous) },
    policy: {
      decide: ({ principal }) =>
        principal.kind === "anonymous" ? { allowed: false, reason: "nobody known" } : { allowed: true },
    },
    audit: { accepts: true, record: () => {} },
  });
  const { RegistryService } = registry;
  const others = Object.fromEntries(RegistryService.methods.map(({ localName }) => [localName, unused]));
  kernel.register(implement(RegistryService, { ...others, ...own } as RegistryHandlers));
  return kernel;
}

/** Servers, clients and folders of one test, ended together by `release`. */
export class Stage {
  readonly #ends: (() => unknown)[] = [];

  /** Ends something with the test. */
  defer(end: () => unknown): void {
    this.#ends.push(end);
  }

  /** A path for a socket in a folder of its own, which does not exist yet. */
  async socketPath(): Promise<string> {
    const made = await mkdtemp(join(tmpdir(), "hms-wire-"));
    this.defer(() => rm(made, { recursive: true, force: true }));
    return join(made, "run", "test.sock");
  }

  async serve(
    own: Partial<RegistryHandlers>,
    options: Partial<Parameters<typeof serveSocket>[1]> = {},
  ): Promise<SocketServer> {
    const path = options.path ?? (await this.socketPath());
    const server = await serveSocket(registryKernel(own), { graceMs: 200, ...options, path });
    this.defer(() => server.close({ graceMs: 0 }));
    return server;
  }

  connect({ path, ...options }: ConnectSocketOptions & { firstStream?: number }): {
    transport: SocketTransport;
    client: RegistryClient;
  } {
    const target = { address: { kind: "unix", path } } as const;
    const transport = new FrameTransport({ token: TOKEN, ...options, target });
    this.defer(() => transport.close());
    return { transport, client: createClient(registry.RegistryService, transport) };
  }

  async release(): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }
}

/** Waits until a condition holds. @throws after 5 s */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpAt = Date.now() + 5_000;
  while (!(await holds())) {
    if (Date.now() > giveUpAt) throw new Error(`Still not so after 5 s: ${holds}`);
    await pause(2);
  }
}
