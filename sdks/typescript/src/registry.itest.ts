import { setTimeout as delay } from "node:timers/promises";
import { PolicyBook } from "@hms/authorization";
import { policy as policyContract, registry as registryContract } from "@hms/contracts";
import { createDirectCalls, createElsewhere } from "@hms/direct-calls";
import { announceServices, openDirectory } from "@hms/directory";
import { anonymous, componentPrincipal, Kernel, type Principal } from "@hms/kernel";
import { createRegistryService, type RegistryTables, registryMigrations } from "@hms/service-registry";
import { openTestDatabase, tempFolder, waitFor } from "@hms/testkit";
import { serveSocket } from "@hms/wire";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Client, PermissionDeniedError, serve } from "./index.ts";

const PRINCIPALS: Record<string, Principal> = {
  operator: { kind: "operator", id: "operator" },
  anna: { kind: "user", id: "anna", roles: ["doctor"] },
  ben: { kind: "user", id: "ben", roles: ["visitor"] },
  emr: { kind: "service", id: "default/emr", environment: "default" },
};

let stack = new AsyncDisposableStack();
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

/** A registry on PostgreSQL, and the edge, on one socket. */
async function platform() {
  const options = { service: "registry", migrations: registryMigrations };
  const { database } = stack.use(await openTestDatabase<RegistryTables>(options));
  const policies = new PolicyBook();
  policies.replace("file", []);
  const service = stack.use(createRegistryService({ database, policies, registersOf: () => ["hms.emr.*"] }));
  const kernel = new Kernel({
    identity: { authenticate: ({ token }) => PRINCIPALS[token ?? ""] ?? anonymous },
    policy: {
      decide: ({ method }) => (method.environment ? { allowed: false, reason: "by ticket only" } : { allowed: true }),
    },
    audit: { accepts: true, record: () => {} },
  });
  kernel.register(service.registration);
  kernel.register(service.policies);
  const registryFor = (principal: Principal) => kernel.client(registryContract.RegistryService, principal);
  const directory = stack.use(openDirectory({ registry: registryFor(componentPrincipal("server")), registryFor }));
  kernel.options.elsewhere = createElsewhere(directory, stack.use(createDirectCalls({ directory })));
  const path = `${stack.use(tempFolder()).path}/kernel.sock`;
  const server = await serveSocket(kernel, { path, graceMs: 100 });
  stack.defer(() => server.close({ graceMs: 0 }));
  const failures: unknown[] = [];
  const announcement = announceServices({
    registry: registryFor(componentPrincipal("server")),
    services: [registryContract.RegistryService, policyContract.PolicyService],
    address: server.address,
    instanceId: "server",
    onFailure: (failure) => failures.push(failure),
  });
  stack.use(announcement);
  await announcement.registered;
  expect(failures).toEqual([]);
  return { policies, connect: (token: string) => ({ registryUrl: `unix:${path}`, token }) };
}

const patient = {
  input: { type: "object", properties: { patient_id: { type: "string" } }, required: ["patient_id"] },
  output: { type: "object", properties: { name: { type: "string" } } },
};

describe("on the registry", () => {
  test("a ticket that was captured is worth nothing at another instance, or for another service", async () => {
    const { connect } = await platform();
    const methods = { GetPatient: { ...patient, handler: () => ({ name: "Anna" }) } };
    const started = await Promise.all(
      ["hms.emr.patient", "hms.emr.patient", "hms.emr.visit"].map((serviceId, at) =>
        serve({ serviceId, methods, instanceId: `i-${at}`, ...connect("emr") }),
      ),
    );
    for (const service of started) stack.use(service);
    await Promise.all(started.map(({ registered }) => registered));
    const operator = stack.use(new Client("hms.ffi", connect("operator")));
    const found = await operator.call<{ tickets: { instanceId: string; ticket: string }[] }>("Lookup", {
      serviceId: "hms.emr.patient",
    });
    const ticket = found.tickets.find(({ instanceId }) => instanceId === "i-0")?.ticket ?? "";
    const showing = async (at: number, serviceId: string) => {
      await using client = new Client(serviceId, { address: started[at]?.address ?? "", ticket });
      return await client.call("GetPatient", { patient_id: "p" });
    };
    expect(await showing(0, "hms.emr.patient")).toMatchObject({ name: "Anna" });
    for (const [at, serviceId] of [
      [1, "hms.emr.patient"],
      [2, "hms.emr.visit"],
    ] as const) {
      await expect(showing(at, serviceId)).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "TICKET_INVALID" });
    }
  });

  test("a service described by schemas is called by whom a policy allows, and by nobody else", async () => {
    const { connect } = await platform();
    const service = await serve({
      serviceId: "hms.emr.patient",
      methods: {
        GetPatient: {
          ...patient,
          handler: ({ patient_id }: { patient_id: string }) => ({ name: `Patient ${patient_id}` }),
        },
      },
      ...connect("emr"),
    });
    stack.use(service);
    await service.registered;
    const clientOf = (token: string) => stack.use(new Client("hms.emr.patient", connect(token)));
    expect(await clientOf("operator").call("GetPatient", { patient_id: "p-1" })).toEqual({ name: "Patient p-1" });
    await expect(clientOf("ben").call("GetPatient", { patient_id: "p-1" })).rejects.toBeInstanceOf(
      PermissionDeniedError,
    );
    const operator = stack.use(new Client("hms.ffi", connect("operator")));
    const policy = { service: "hms.emr.patient", method: "Get*", allowedRoles: ["doctor"] };
    await operator.call("PutPolicy", { policy });
    const anna = clientOf("anna");
    await waitFor(async () => (await anna.call("GetPatient", { patient_id: "p-2" })) !== undefined, {
      describe: "the policy to hold",
    });
    expect(await anna.call("GetPatient", { patient_id: "p-2" })).toEqual({ name: "Patient p-2" });
    await expect(clientOf("ben").call("GetPatient", { patient_id: "p-1" })).rejects.toBeInstanceOf(
      PermissionDeniedError,
    );
  });
});

describe("a setting of the configuration file has its effect:", () => {
  const file = (transport: string) => {
    const folder = stack.use(tempFolder({ "ffi.yml": `ffi: {transport: {${transport}}}` }));
    return { configPath: `${folder.path}/ffi.yml`, folder: folder.path };
  };

  /** A service whose calls take a moment, and how many of them ran at once. */
  async function offered(connection: object) {
    const seen = { running: 0, most: 0 };
    const handler = async () => {
      seen.running += 1;
      seen.most = Math.max(seen.most, seen.running);
      await delay(50);
      seen.running -= 1;
      return { name: "Anna" };
    };
    const methods = { GetPatient: { ...patient, handler } };
    const service = stack.use(await serve({ serviceId: "hms.emr.patient", methods, ...connection }));
    await service.registered;
    return { service, seen };
  }

  test("local_socket.path, where services put their sockets", async () => {
    const { connect } = await platform();
    const { folder: path } = file("");
    const { configPath } = file(`local_socket: {path: ${path}}`);
    const { service } = await offered({ ...connect("emr"), configPath });
    expect(service.address.startsWith(`unix:${path}/`)).toBe(true);
  });

  test("local_socket.enabled: false, nothing is called directly over one: the platform is asked, and decides", async () => {
    const { connect } = await platform();
    await offered(connect("emr"));
    const callBy = async (transport: string) => {
      const { configPath } = file(transport);
      await using client = new Client("hms.emr.patient", { ...connect("operator"), configPath });
      return await client.call("GetPatient", { patient_id: "p" });
    };
    expect(await callBy("local_socket: {enabled: true}")).toEqual({ name: "Anna" });
    await expect(callBy("local_socket: {enabled: false}")).rejects.toBeInstanceOf(PermissionDeniedError);
  });

  test.each([
    ["grpc.max_concurrent_streams: 1", "grpc: {max_concurrent_streams: 1}", 1],
    ["none", "", 3],
  ])("%s, so many of three calls run at once", async (_, transport, most) => {
    const { connect } = await platform();
    const { configPath } = file(transport);
    const { seen } = await offered({ ...connect("emr"), configPath });
    const client = stack.use(new Client("hms.emr.patient", connect("operator")));
    await client.call("GetPatient", { patient_id: "p" });
    await Promise.allSettled([1, 2, 3].map(() => client.call("GetPatient", { patient_id: "p" })));
    expect(seen.most).toBe(most);
  });

  test("default, that way is taken before nearer ones where the instance offers it", async () => {
    const { connect } = await platform();
    const { folder } = file("");
    const at = async (name: string, listen: string) => {
      const methods = { GetPatient: { ...patient, handler: () => ({ name }) } };
      return stack.use(await serve({ serviceId: "hms.emr.patient", methods, register: false, listen })).address;
    };
    const [address, tcp] = [await at("unix", `unix:${folder}/a.sock`), await at("tcp", "tcp://127.0.0.1:0")];
    const emr = stack.use(new Client("hms.ffi", connect("emr")));
    const methodSchemas = [{ name: "GetPatient", outputSchema: JSON.stringify(patient.output) }];
    const instance = { instanceId: "i", address, alternativeAddresses: [tcp], methodSchemas };
    await emr.call("Register", { serviceId: "hms.emr.patient", version: "v1", ...instance });
    const reachedBy = async (transport: string) => {
      const { configPath } = file(transport);
      await using client = new Client("hms.emr.patient", { ...connect("operator"), configPath });
      return (await client.call<{ name: string }>("GetPatient", { patient_id: "p" })).name;
    };
    expect(await reachedBy("default: auto")).toBe("unix");
    expect(await reachedBy("default: tcp")).toBe("tcp");
    // No certificate: the nearest is taken.
    expect(await reachedBy("default: grpc")).toBe("unix");
    await expect(reachedBy("default: pigeon")).rejects.toThrow(
      /ffi\.transport\.default must be one of auto, in_process, /,
    );
  });
});
