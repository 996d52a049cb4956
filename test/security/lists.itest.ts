import { type DescService, fromBinary } from "@bufbuild/protobuf";
import { type AccessRule, createAccessPolicy, PolicyBook } from "@hms/authorization";
import {
  audit,
  calls,
  identityClients,
  identityKeys,
  identityProviders,
  identityRoles,
  identitySessions,
  identityUsers,
  integrationEvents,
  integrationOperations,
  mesh,
  policy,
  registry,
} from "@hms/contracts";
import { type CallObserver, Kernel, type Principal } from "@hms/kernel";
import { createMeshService, type MeshTables, meshMigrations } from "@hms/service-mesh";
import { createCallService } from "@hms/telemetry";
import { openTestDatabase } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AuditScene, eventOf } from "../../services/communication/src/testing/audit-scene.ts";
import { openSession } from "../../services/identity/src/sessions/session-store.ts";
import { IdentityScene, operator } from "../../services/identity/src/testing/identity-scene.ts";
import * as operations from "../../services/integration/src/testing/operation-scene.ts";
import * as access from "../../services/registry/src/testing/access-scene.ts";
import { listRows } from "./list-rows.ts";

/** A method that answers with many things, called where there are two of them. */
interface ListAttempt {
  /** Their kind and place as policies name them, "services/default". */
  place: string;
  /** The verb of the method's permission. */
  verb: string;
  /** The two; the second one is hidden. */
  names: readonly [string, string];
  /** The names of what comes to anna. */
  list(): Promise<string[]>;
  /** What is whole or nothing: then it is refused. */
  isWhole?: true;
}

const stack = new AsyncDisposableStack();
const book = new PolicyBook();
const observer: CallObserver = { finished() {} };
const kernel = new Kernel({
  identity: { authenticate: () => operator },
  policy: createAccessPolicy(book),
  audit: { accepts: true, record() {} },
  observer,
});
let identity: IdentityScene;
let auditScene: AuditScene;
let registryHere: Awaited<ReturnType<typeof access.openRegistryHere>>;
const anna: { -readonly [Key in keyof Principal]: Principal[Key] } = { kind: "user", id: "", roles: ["admin"] };
const as = <S extends DescService>(service: S, who: Principal = operator) => kernel.client(service, who);

function inForce(...texts: string[]): void {
  const plain = { service: "*", method: "*", allowedRoles: [], deniedRoles: [], requiresMfa: false, environment: "" };
  const rules: AccessRule[] = texts.map((cedar, index) => ({ ...plain, id: `p${index}`, auditLevel: 0, cedar }));
  book.replace("stored", rules);
}

beforeAll(async () => {
  book.replace("file", []);
  inForce();
  let integration: Awaited<ReturnType<typeof operations.serve>>;
  let meshDatabase: Awaited<ReturnType<typeof openTestDatabase<MeshTables>>>;
  [identity, auditScene, registryHere, integration, meshDatabase] = await Promise.all([
    IdentityScene.open(),
    AuditScene.open(),
    access.openRegistryHere(),
    operations.openDatabase().then((own) => operations.serve(own, { lookup: () => ({}) })),
    openTestDatabase<MeshTables>({ service: "mesh", migrations: meshMigrations }),
  ]);
  stack.use(identity);
  stack.use(auditScene);
  stack.use(meshDatabase);
  const network = { vipPrefix: "127.88", proxyPort: 3002 };
  const meshService = stack.use(createMeshService({ database: meshDatabase.database, network }));
  const running = await identity.start();
  const log = await auditScene.start();
  stack.defer(() => auditScene.stop());
  const all = [
    ...running.identity.registrations,
    ...integration.service.registrations,
    registryHere.service.registration,
    registryHere.service.policies,
    meshService.registration,
    log.registration,
    createCallService({ observer, process: "test", metrics: () => "" }),
  ];
  for (const registration of all) kernel.register(registration);
  const { user } = await as(identityUsers.UserService).createUser({ login: "anna", roles: ["admin"] });
  anna.id = user?.userId ?? "";
});
afterAll(async () => {
  await Promise.all([operations.clearScene(), access.clearScene()]);
  await stack.disposeAsync();
});

/** Every page of a list, of one row each: none is empty because of what was left out. */
async function paged<T>(
  read: (page: { pageSize: number; pageToken: string }) => Promise<{ rows: readonly T[]; next: string }>,
): Promise<T[]> {
  const all: T[] = [];
  for (let pageToken = ""; ; ) {
    const { rows, next } = await read({ pageSize: 1, pageToken });
    all.push(...rows);
    if (next === "") return all;
    expect(rows).toHaveLength(1);
    pageToken = next;
  }
}

/** What comes of a stream until `isEnd` says that this is the last. */
async function until<T>(stream: AsyncIterable<T>, isEnd: (value: T) => boolean): Promise<T[]> {
  const got: T[] = [];
  for await (const value of stream) {
    got.push(value);
    if (isEnd(value)) break;
  }
  return got;
}

const DEFAULT = "default";

/** Two services in the registry. */
async function twoServices(): Promise<Pick<ListAttempt, "place" | "verb" | "names">> {
  const names = ["hms.lists.a", "hms.lists.b"] as const;
  for (const serviceId of names) await as(registry.RegistryService).register({ ...access.debate, serviceId });
  return { place: `registry/${DEFAULT}`, verb: "read", names };
}

/** Two services in the mesh. */
async function twoInMesh(): Promise<Pick<ListAttempt, "place" | "verb" | "names">> {
  const names = ["lists-a", "lists-b"] as const;
  for (const name of names) await as(mesh.MeshService).setService({ service: { environment: DEFAULT, name } });
  return { place: `mesh/${DEFAULT}`, verb: "read", names };
}

const attempts: Readonly<Record<string, () => Promise<ListAttempt>>> = {
  "hms.ffi.v1.RegistryService/List": async () => ({
    ...(await twoServices()),
    async list() {
      const found = await paged(async (page) => {
        const { services: rows, nextPageToken: next } = await as(registry.RegistryService, anna).list(page);
        return { rows, next };
      });
      return found.map(({ serviceId }) => serviceId);
    },
  }),
  "hms.ffi.v1.RegistryService/Watch": async () => ({
    ...(await twoServices()),
    async list() {
      const watch = as(registry.RegistryService, anna).watch({});
      const events = await until(watch, ({ kind }) => kind === registry.WatchEventKind.SYNCED);
      return events.flatMap(({ service }) => service?.serviceId ?? []);
    },
  }),
  async "hms.sys.integration.v1.OperationService/ListOperations"() {
    const client = as(integrationOperations.OperationService, anna);
    const start = async () => operations.idOf(await client.startOperation(operations.lookup("a")));
    const names = [await start(), await start()] as const;
    const list = async () => {
      const found = await paged(async (page) => {
        const { operations: rows, nextPageToken: next } = await client.listOperations(page);
        return { rows, next };
      });
      return found.map(({ operationId }) => operationId);
    };
    return { place: `operations/${DEFAULT}`, verb: "read", names, list };
  },
  async "hms.sys.integration.v1.EventService/Subscribe"() {
    const names = ["lists.b", "lists.a"] as const;
    const list = async () => {
      const stream = as(integrationEvents.EventService, anna).subscribe({ pattern: "lists.*" })[Symbol.asyncIterator]();
      // The first message says that it has begun.
      await stream.next();
      for (const topic of [...names, "lists.end"]) {
        await as(integrationEvents.EventService).publish({ topic, events: [{ data: new Uint8Array() }] });
      }
      const rest = { [Symbol.asyncIterator]: () => stream };
      const got = await until(rest, ({ delivery }) => delivery?.topic === "lists.end");
      return got.map(({ delivery }) => delivery?.topic ?? "");
    };
    return { place: `events/${DEFAULT}`, verb: "subscribe", names, list };
  },
  async "hms.communication.v1.AuditService/SearchEvents"() {
    const names = ["lists-a", "lists-b"] as const;
    const spool = auditScene.spool();
    for (const resource of names) spool.record(eventOf({ resource }));
    await spool.kept();
    await auditScene.until(2);
    const list = async () => {
      const found = await paged(async (page) => {
        const answer = await as(audit.AuditService, anna).searchEvents({ ...page, resource: "lists-*" });
        return { rows: answer.events, next: answer.nextPageToken };
      });
      return found.map(({ resource }) => resource);
    };
    return { place: `audit/${DEFAULT}`, verb: "read", names, list };
  },
  "hms.sys.mesh.v1.MeshService/GetSnapshot": async () => ({
    ...(await twoInMesh()),
    list: async () =>
      (await as(mesh.MeshService, anna).getSnapshot({})).content?.services.map(({ name }) => name) ?? [],
  }),
  async "hms.sys.mesh.v1.MeshService/GetTraffic"() {
    const two = await twoInMesh();
    const traffic = two.names.map((service) => ({ environment: DEFAULT, service }));
    await as(mesh.MeshService).reportNode({ nodeId: "dp-1", traffic });
    const list = async () =>
      (await as(mesh.MeshService, anna).getTraffic({ environment: DEFAULT })).services.map(({ service }) => service);
    return { ...two, list };
  },
  "hms.sys.mesh.v1.MeshService/WatchSnapshots": async () => ({
    ...(await twoInMesh()),
    isWhole: true,
    async list() {
      const [first] = await until(as(mesh.MeshService, anna).watchSnapshots({ nodeId: "dp-1" }), () => true);
      const content = fromBinary(mesh.SnapshotContentSchema, first?.snapshot?.content ?? new Uint8Array());
      return content.services.map(({ name }) => name);
    },
  }),
  async "hms.ffi.v1.PolicyService/ListPolicies"() {
    const names = ["lists-a", "lists-b"] as const;
    for (const policyId of names) {
      await as(policy.PolicyService).putPolicy({ policy: { policyId, service: "hms.x", allowedRoles: ["y"] } });
    }
    const list = async () =>
      (await as(policy.PolicyService, anna).listPolicies({})).policies.map(({ policyId }) => policyId);
    return { place: "policies", verb: "read", names, list };
  },
  async "hms.ffi.v1.CallService/TapCalls"() {
    const { RoleService, GroupService } = identityRoles;
    const { ServiceAccountService } = identityKeys;
    const names = [GroupService.typeName, RoleService.typeName] as const;
    const list = async () => {
      const stream = as(calls.CallService, anna).tapCalls({})[Symbol.asyncIterator]();
      await stream.next();
      await as(RoleService).listRoles({});
      await as(GroupService).listGroups({});
      await as(ServiceAccountService).listServiceAccounts({});
      const tapped = { [Symbol.asyncIterator]: () => stream };
      const isEnd = ({ calls: some }: calls.TapCallsResponse) =>
        some.some(({ service }) => service === ServiceAccountService.typeName);
      return (await until(tapped, isEnd)).flatMap((message) => message.calls.map(({ service }) => service));
    };
    return { place: "calls", verb: "tap", names, list };
  },
  async "hms.identity.v1.UserService/ListUsers"() {
    const names = ["lists-a", "lists-b"] as const;
    for (const login of names) await as(identityUsers.UserService).createUser({ login });
    const list = async () => {
      const found = await paged(async (page) => {
        const answer = await as(identityUsers.UserService, anna).listUsers({ ...page, query: "lists-" });
        return { rows: answer.users, next: answer.nextPageToken };
      });
      return found.map(({ login }) => login);
    };
    return { place: "users", verb: "read", names, list };
  },
  async "hms.identity.v1.ServiceAccountService/ListServiceAccounts"() {
    const names = ["lists-ci-a", "lists-ci-b"] as const;
    const service = identityKeys.ServiceAccountService;
    for (const login of names) await as(service).createServiceAccount({ login });
    const list = async () => (await as(service, anna).listServiceAccounts({})).accounts.map(({ login }) => login);
    return { place: "users", verb: "read", names, list };
  },
  async "hms.identity.v1.GroupService/ListGroups"() {
    const names = ["lists-a", "lists-b"] as const;
    for (const name of names) await as(identityRoles.GroupService).putGroup({ name });
    const list = async () => (await as(identityRoles.GroupService, anna).listGroups({})).groups.map(({ name }) => name);
    return { place: "groups", verb: "read", names, list };
  },
  "hms.identity.v1.RoleService/ListRoles": async () => ({
    place: "roles",
    verb: "read",
    names: ["viewer", "developer"],
    list: async () => (await as(identityRoles.RoleService, anna).listRoles({})).roles.map(({ name }) => name),
  }),
  async "hms.identity.v1.KeyService/ListKeys"() {
    const make = async (name: string) =>
      (await as(identityKeys.KeyService).createKey({ user: "anna", name })).key?.keyId ?? "";
    const names = [await make("a"), await make("b")] as const;
    const list = async () => (await as(identityKeys.KeyService, anna).listKeys({})).keys.map(({ keyId }) => keyId);
    return { place: "keys", verb: "own", names, list };
  },
  async "hms.identity.v1.SessionService/ListSessions"() {
    const origin = { address: "127.0.0.1", userAgent: "test", methods: ["pwd"] };
    const open = async () => (await openSession(identity.database.db, anna.id, origin)).session.sessionId;
    const names = [await open(), await open()] as const;
    const list = async () =>
      (await as(identitySessions.SessionService, anna).listSessions({})).sessions.map(({ sessionId }) => sessionId);
    return { place: "sessions", verb: "own", names, list };
  },
  async "hms.identity.v1.ClientService/ListClients"() {
    const service = identityClients.ClientService;
    const make = async (name: string) => {
      const { client } = await as(service).createClient({ name, redirectUris: ["https://lists.example/x"] });
      return client?.clientId ?? "";
    };
    const names = [await make("a"), await make("b")] as const;
    const list = async () => (await as(service, anna).listClients({})).clients.map(({ clientId }) => clientId);
    return { place: "clients", verb: "read", names, list };
  },
  async "hms.identity.v1.IdentityProviderService/ListIdentityProviders"() {
    const names = ["lists-a", "lists-b"] as const;
    const kept = { client_id: "x", sealed: new Uint8Array(), sign_up_domains: null };
    const rows = names.map((name) => ({ name, display_name: name, issuer: `https://${name}.example`, ...kept }));
    await identity.database.db.insertInto("identity_provider").values(rows).execute();
    const service = identityProviders.IdentityProviderService;
    const list = async () => (await as(service, anna).listIdentityProviders({})).providers.map(({ name }) => name);
    return { place: "identity-providers", verb: "read", names, list };
  },
};

const filtered = listRows().filter(({ state }) => state === "filtered");

test("every list that the table says is filtered is tried here, and no other", () => {
  expect(Object.keys(attempts).sort()).toEqual(filtered.map(({ method }) => method).sort());
});

describe.each(Object.entries(attempts))("%s", (_, make) => {
  test("leaves out what a policy hides, and nothing else", async () => {
    inForce();
    const { place, verb, names, list, isWhole } = await make();
    const [shown, hidden] = names;
    expect(await list()).toEqual(expect.arrayContaining([shown, hidden]));
    const [kind] = place.split("/");
    inForce(
      `forbid (principal == User::"${anna.id}", action == Action::"${kind}:${verb}", resource == Resource::"${place}/${hidden}");`,
    );
    if (isWhole) {
      await expect(list()).rejects.toMatchObject({ code: "PERMISSION_DENIED", details: { reason: "SNAPSHOT_HIDDEN" } });
      return;
    }
    const left = await list();
    expect(left).toContain(shown);
    expect(left).not.toContain(hidden);
  });
});

test("a policy that names a login holds whether a request names that or the id, and by the groups of who it is about", async () => {
  inForce();
  const users = as(identityUsers.UserService, anna);
  const { user } = await as(identityUsers.UserService).createUser({ login: "named" });
  await as(identityRoles.GroupService).putGroup({ name: "crew" });
  await as(identityRoles.GroupService).addGroupMembers({ name: "crew", members: ["named"] });
  expect((await users.getUser({ user: user?.userId ?? "" })).user?.login).toBe("named");
  inForce('forbid (principal, action == Action::"users:read", resource == Resource::"users/named");');
  await expect(users.getUser({ user: user?.userId ?? "" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(users.getUser({ user: "named" })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  inForce('forbid (principal, action == Action::"users:read", resource in Group::"crew");');
  await expect(users.getUser({ user: "named" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  expect((await users.listUsers({ query: "named" })).users).toEqual([]);
});
