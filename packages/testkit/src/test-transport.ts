import {
  anonymous,
  type Client,
  componentPrincipal,
  createClient,
  createInProcessTransport,
  Kernel,
  type ServiceRegistration,
  type Transport,
} from "@hms/kernel";
import { connectSocket, serveSocket } from "@hms/wire";
import { tempInstance } from "./temp-instance.ts";

/** The ways a service is called; its tests run over each. */
export const testTransports = ["in-process", "socket"] as const;

/** A kernel with services under test, and a way to call it. */
export interface TestTransport extends AsyncDisposable {
  readonly transport: Transport;
  /** A client of one of the services; its principal may do everything. */
  client<S extends ServiceRegistration["service"]>(service: S): Client<S>;
}

const TOKEN = "test";

function testKernel(registrations: readonly ServiceRegistration[]): Kernel {
  const kernel = new Kernel({
    identity: { authenticate: ({ token }) => (token === TOKEN ? componentPrincipal("test") : anonymous) },
    policy: {
      decide: ({ principal }) =>
        principal.kind === "anonymous" ? { allowed: false, reason: "nobody known" } : { allowed: true },
    },
    audit: { accepts: true, record: () => {} },
  });
  for (const registration of registrations) kernel.register(registration);
  return kernel;
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
  via: (typeof testTransports)[number],
): Promise<TestTransport> {
  const kernel = testKernel(registrations);
  if (via === "in-process") {
    const transport = frozenTransport(createInProcessTransport(kernel, componentPrincipal("test")));
    return { transport, client: (service) => createClient(service, transport), [Symbol.asyncDispose]: async () => {} };
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
