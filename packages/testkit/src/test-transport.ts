import {
  anonymous,
  type Client,
  componentPrincipal,
  createClient,
  createInProcessTransport,
  type Kernel,
  type Principal,
  type ServiceRegistration,
  type Transport,
} from "@hms/kernel";
import { forwardedServices, PartTickets, partContracts } from "@hms/parts";
import { connectFrames, connectSocket, serveSocket } from "@hms/wire";
import { knownMay } from "./host-program.ts";
import type { HostedOptions, ServiceHost } from "./service-host.ts";
import { tempInstance } from "./temp-instance.ts";
import { casesOf } from "./thorough.ts";

/** The ways a service is called that runs in the process of its test. */
export const nearTransports = ["in-process", "socket"] as const;

/**
 * The ways a service is called; its tests run over each. In a process of its own it is called on behalf of a principal,
 * as the platform's parts call each other.
 */
export const testTransports = [...nearTransports, "process", "process-mtls"] as const;

/** One of them. */
export type TestVia = (typeof testTransports)[number];

/** The nearest and the farthest way, for suites that are one of several over their service; all in a thorough run. */
export const endTransports = casesOf(testTransports, (via) => via === "in-process" || via === "process-mtls");

/** A kernel with services under test, and a way to call it. */
export interface TestTransport extends AsyncDisposable {
  readonly transport: Transport;
  /** A client of one of the services; its principal may do everything. */
  client<S extends ServiceRegistration["service"]>(service: S): Client<S>;
}

/** The way that HMS_TEST_VIA names; default in-process. @throws Error if it names none */
export async function defaultVia(): Promise<TestVia> {
  // Not at the top: vitest refuses to be imported outside of a test run.
  const { inject } = await import("vitest");
  const named = inject("hmsTestVia") || "in-process";
  const found = testTransports.find((via) => via === named);
  if (found === undefined) throw new Error(`HMS_TEST_VIA=${named}: choose of ${testTransports.join(", ")}.`);
  return found;
}

const TOKEN = "test";

const test = componentPrincipal("test");

function testKernel(registrations: readonly ServiceRegistration[]): Kernel {
  return knownMay({ authenticate: ({ token }) => (token === TOKEN ? test : anonymous) }, registrations);
}

/** Freezes a message and everything in it; bytes cannot be frozen. */
function frozen<T>(value: T): T {
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value) || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) frozen(inner);
  return value;
}

async function* frozenEach<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const message of messages) yield frozen(message);
}

/** In one process messages pass by reference: whoever changes one that is not his own fails here. */
function frozenTransport(inner: Transport): Transport {
  return {
    unary: async (method, input, options) => frozen(await inner.unary(method, frozen(input), options)),
    stream: (method, inputs, options) => frozenEach(inner.stream(method, frozenEach(inputs), options)),
  };
}

/** Serves registrations in-process, with all messages frozen, or on a socket of their own. */
export async function openTestTransport(
  registrations: readonly ServiceRegistration[],
  via: (typeof nearTransports)[number],
): Promise<TestTransport> {
  const kernel = testKernel(registrations);
  if (via === "in-process") {
    return { ...inProcess(kernel), [Symbol.asyncDispose]: async () => {} };
  }
  await using stack = new AsyncDisposableStack();
  const { paths } = stack.use(tempInstance());
  const server = await serveSocket(kernel, { path: paths.kernelSocket, graceMs: 500 });
  stack.use(server);
  const transport = stack.use(connectSocket({ path: server.path, token: TOKEN }));
  const owned = stack.move();
  return {
    transport,
    client: (service) => createClient(service, transport),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function inProcess(kernel: Kernel, principal: Principal = test) {
  const transport = frozenTransport(createInProcessTransport(kernel, principal));
  const client = <S extends ServiceRegistration["service"]>(service: S) => createClient(service, transport);
  return { transport, client };
}

/** A service in a process of its own, and ways to call it as anybody. */
export interface HostedTransport extends TestTransport {
  /** A client whose calls are made as this principal. */
  as<S extends ServiceRegistration["service"]>(service: S, principal: Principal): Client<S>;
}

/** Calls a service in a process of its own, through a kernel of this process and on behalf of whoever calls. */
export async function openHostedTransport(host: ServiceHost, options: HostedOptions): Promise<HostedTransport> {
  await using stack = new AsyncDisposableStack();
  const { address, tls, key } = stack.use(await host.open(options));
  const transport = stack.use(connectFrames({ address, ...(tls ? { tls } : {}) }));
  const tickets = new PartTickets(key, options.part);
  const kernel = testKernel(forwardedServices(partContracts[options.part], { transport, tickets }));
  const owned = stack.move();
  return {
    ...inProcess(kernel),
    as: (service, principal) => inProcess(kernel, principal).client(service),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
