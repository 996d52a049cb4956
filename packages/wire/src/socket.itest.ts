import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { registry } from "@hms/contracts";
import {
  anonymous,
  type CallContext,
  componentPrincipal,
  createClient,
  HmsError,
  implement,
  Kernel,
  type KernelOptions,
  type ServiceImplementation,
} from "@hms/kernel";
import { afterEach, describe, expect, test } from "vitest";
import { connectSocket, serveSocket } from "./index.ts";

type Registry = ServiceImplementation<typeof registry.RegistryService>;

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "hms-wire-"));
  ends.push(() => rm(made, { recursive: true, force: true }));
  return made;
}

function registryKernel(own: Partial<Registry>, options: Partial<KernelOptions> = {}): Kernel {
  const unused = () => {
    throw new HmsError("UNIMPLEMENTED", "Not part of this test.");
  };
  const all = Object.fromEntries(registry.RegistryService.methods.map((method) => [method.localName, unused]));
  const kernel = new Kernel({
    identity: { authenticate: ({ token }) => (token === "secret" ? componentPrincipal("test") : anonymous) },
    policy: {
      decide: ({ principal }) =>
        principal.kind === "anonymous" ? { allowed: false, reason: "nobody known" } : { allowed: true },
    },
    audit: { accepts: true, record: () => {} },
    ...options,
  });
  kernel.register(implement(registry.RegistryService, { ...all, ...own } as Registry));
  return kernel;
}

async function connected(own: Partial<Registry>) {
  const path = join(await folder(), "run", "test.sock");
  const server = await serveSocket(registryKernel(own), { path, graceMs: 500 });
  ends.push(() => server.close());
  const transport = connectSocket({ path, token: "secret" });
  ends.push(() => transport.close());
  return { path, server, transport, client: createClient(registry.RegistryService, transport) };
}

describe("a call over the socket", () => {
  test("reaches the handler with principal, metadata and deadline, and brings its answer back", async () => {
    let seen: CallContext | undefined;
    const { client } = await connected({
      lookup: (request, context) => {
        seen = context;
        return { service: { serviceId: request.serviceId, hasContract: true } };
      },
    });
    const options = { metadata: { "x-request-id": "r-1", Traceparent: "00-1-2-01" }, timeoutMs: 5_000 };
    const answer = await client.lookup({ serviceId: "hms.cdf.debate" }, options);
    expect(answer.service).toMatchObject({ serviceId: "hms.cdf.debate", hasContract: true });
    expect(seen?.principal).toEqual(componentPrincipal("test"));
    expect({ ...seen?.metadata }).toEqual({ "x-request-id": "r-1", traceparent: "00-1-2-01" });
    expect(seen?.requestId).toBe("r-1");
    expect(seen?.remainingMs).toBeGreaterThan(3_000);
  });

  test("brings errors back whole", async () => {
    const { client } = await connected({
      lookup: () => {
        throw new HmsError("NOT_FOUND", "No such service.", { reason: "SERVICE_UNKNOWN", metadata: { near: "x" } });
      },
    });
    await expect(client.lookup({ serviceId: "y" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: "No such service.",
      details: { reason: "SERVICE_UNKNOWN", metadata: { near: "x" } },
    });
  });

  test("streams answers until the handler ends", async () => {
    const { client } = await connected({
      watch: async function* () {
        for (let n = 0; n < 5; n += 1) yield { kind: 1, service: { serviceId: `s${n}` } };
      },
    });
    const seen: unknown[] = [];
    for await (const event of client.watch({})) seen.push(event.service?.serviceId);
    expect(seen).toEqual(["s0", "s1", "s2", "s3", "s4"]);
  });

  test("is made on a socket that only its user can open", async () => {
    const { path } = await connected({});
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(path, ".."))).mode & 0o777).toBe(0o700);
  });
});
