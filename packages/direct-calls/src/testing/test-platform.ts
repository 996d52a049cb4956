import { registry } from "@hms/contracts";
import { contractOfSchemas, descriptorSetOf } from "@hms/descriptors";
import { openDirectory } from "@hms/directory";
import { MemoryRegistry } from "@hms/directory/testing";
import { anonymous, componentPrincipal, Kernel, type Principal } from "@hms/kernel";
import { tempFolder } from "@hms/testkit";
import { serveSocket } from "@hms/wire";
import { createDirectCalls } from "../direct-calls.ts";
import { createElsewhere } from "../elsewhere.ts";

/** Who the tokens of tests are. */
const PRINCIPALS: Record<string, Principal> = {
  anna: { kind: "user", id: "anna", roles: ["doctor"] },
  operator: { kind: "operator", id: "operator" },
  svc: { kind: "service", id: "default/test-svc", environment: "default" },
};

/** A platform for tests: a registry that keeps nothing, and the edge, on one socket. */
export interface TestPlatform extends AsyncDisposable {
  readonly memory: MemoryRegistry;
  readonly path: string;
  /** What a client or a service of a test is connected with. */
  connect(token?: string): { registryUrl: string; token: string };
  /** Stops the socket and starts it anew at the same path. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it, at a path of its own by default; whoever has a token may do everything. */
export async function openTestPlatform(at?: string): Promise<TestPlatform> {
  await using stack = new AsyncDisposableStack();
  const memory = new MemoryRegistry();
  memory.contractOf = ({ serviceId, version, methodSchemas }) => {
    if (methodSchemas.length === 0) return undefined;
    const { files } = contractOfSchemas({ serviceId, version, methods: methodSchemas });
    return descriptorSetOf(files.files);
  };
  const path = at ?? `${stack.use(tempFolder()).path}/kernel.sock`;
  const kernel = new Kernel({
    identity: { authenticate: ({ token }) => PRINCIPALS[token ?? ""] ?? anonymous },
    policy: {
      decide: ({ principal }) =>
        principal.kind === "anonymous" ? { allowed: false, reason: "show a token" } : { allowed: true },
    },
    audit: { accepts: true, record: () => {} },
  });
  kernel.register(memory.registration);
  const registryFor = (principal: Principal) => kernel.client(registry.RegistryService, principal);
  const directory = stack.use(openDirectory({ registry: registryFor(componentPrincipal("edge")), registryFor }));
  const calls = stack.use(createDirectCalls({ directory }));
  kernel.options.elsewhere = createElsewhere(directory, calls);
  let server = await serveSocket(kernel, { path, graceMs: 100 });
  stack.defer(() => server.close({ graceMs: 0 }));
  const owned = stack.move();
  return {
    memory,
    path,
    connect: (token = "anna") => ({ registryUrl: `unix:${path}`, token }),
    async restart() {
      await server.close({ graceMs: 0 });
      server = await serveSocket(kernel, { path, graceMs: 100 });
    },
    stop: () => server.close({ graceMs: 0 }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
