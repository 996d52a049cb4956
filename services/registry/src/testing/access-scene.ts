import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { type AccessRule, PolicyBook } from "@hms/authorization";
import { policy, registry } from "@hms/contracts";
import { type AuditEvent, type Credentials, Kernel, type Principal } from "@hms/kernel";
import { defaultVia, openHostedTransport, openTestDatabase, ServiceHost, sharedPostgres } from "@hms/testkit";
import { createTicketIdentity, RevocationList, ticketAudience } from "@hms/tickets";
import {
  createRegistryService,
  type RegistryServiceOptions,
  type RegistryTables,
  registryMigrations,
} from "../index.ts";
import { registersOf } from "./registration-grants.ts";
import type { HostedRegistryOptions } from "./registry-service-host.ts";

/** The process for registries in processes of their own; a test file that uses it ends it. */
export const accessHost = new ServiceHost(new URL("./registry-service-host.ts", import.meta.url));

/** Owns what one test opens. */
export const scene = { stack: new AsyncDisposableStack() };

/** Closes everything that the test before opened. */
export async function clearScene(): Promise<void> {
  await scene.stack.disposeAsync();
  scene.stack = new AsyncDisposableStack();
}

/** Who asks in these tests. */
export const operator: Principal = { kind: "operator", id: "operator" };
/** A deployed service. */
export const workload = (name: string, environment = "default"): Principal => ({
  kind: "service",
  id: `${environment}/${name}`,
  roles: ["service", `service:${name}`],
  environment,
});
/** A known person. */
export const doctor: Principal = { kind: "user", id: "anna", roles: ["doctor"] };
/** The deployed service that offers hms.cdf.debate. */
export const debateSvc = workload("debate-svc");

/** hms.cdf.debate.v1 with two services of a few methods. */
export function debateContract(): Uint8Array {
  const method = (name: string) => ({
    name,
    inputType: ".hms.cdf.debate.v1.Text",
    outputType: ".hms.cdf.debate.v1.Text",
  });
  const service = [
    { name: "DebateService", method: ["CreateDebate", "GetDebate", "DeleteDebate"].map(method) },
    { name: "AdminService", method: [method("Purge")] },
  ];
  const file = {
    name: "debate.proto",
    package: "hms.cdf.debate.v1",
    syntax: "proto3",
    messageType: [{ name: "Text" }],
    service,
  };
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [file] }));
}

/** An instance of it. */
export const debate = { serviceId: "hms.cdf.debate", version: "v1", instanceId: "i-1", address: "unix:/run/i-1.sock" };
const audience = ticketAudience({ ...debate, environment: "default" });

type Database = Awaited<ReturnType<typeof openTestDatabase<RegistryTables>>>;

/** The registry's schema, empty. */
export async function openDatabase(): Promise<Database> {
  return scene.stack.use(
    await openTestDatabase<RegistryTables>({ service: "registry", migrations: registryMigrations }),
  );
}

/**
 * A registry that anybody may call, as far as its kernel goes: in this process, or in one of its own where HMS_TEST_VIA
 * says so.
 */
export async function openRegistry(own?: Database, fileRules: readonly AccessRule[] = []) {
  const via = await defaultVia();
  if (via === "in-process" || via === "socket") return openRegistryHere(own, fileRules);
  const { source } = own ?? (await openDatabase());
  const { paths, databaseUrl } = await sharedPostgres();
  const { database = "" } = await source.admin();
  const options = { paths, databaseUrl, database, own: {}, fileRules } satisfies HostedRegistryOptions;
  const transport = scene.stack.use(await openHostedTransport(accessHost, { part: "registry", via, options }));
  const as = (principal: Principal) => transport.as(registry.RegistryService, principal);
  const stop = () => transport[Symbol.asyncDispose]();
  return { as, policies: transport.as(policy.PolicyService, operator), stop };
}

/** The same in this process always, for tests that look into it. */
export async function openRegistryHere(
  own?: Database,
  fileRules: readonly AccessRule[] = [],
  further: Pick<RegistryServiceOptions, "known"> = {},
) {
  const { database } = own ?? (await openDatabase());
  const book = new PolicyBook();
  book.replace("file", fileRules);
  const audited: AuditEvent[] = [];
  const spool = { accepts: true, record: (event: AuditEvent) => void audited.push(event) };
  const service = createRegistryService({
    database,
    policies: book,
    audit: spool,
    ...further,
    registersOf,
  });
  scene.stack.use(service);
  const kernel = new Kernel({
    identity: { authenticate: () => operator },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
  kernel.register(service.registration);
  kernel.register(service.policies);
  const as = (principal: Principal) => kernel.client(registry.RegistryService, principal);
  const stop = () => service[Symbol.asyncDispose]();
  return { service, book, as, audited, spool, policies: kernel.client(policy.PolicyService, operator), stop };
}

/** An open registry. */
export type Opened = Pick<Awaited<ReturnType<typeof openRegistryHere>>, "as" | "policies" | "stop">;

/** Registers the debate service and answers with what its instance would check tickets with. */
export async function openDebate({ as }: Opened) {
  const { ticketKey } = await as(debateSvc).register({ ...debate, fileDescriptorSet: debateContract() });
  const revocations = new RevocationList();
  const identity = createTicketIdentity({ keys: new Map([[audience, ticketKey]]), revocations });
  const admit = (ticket: string) => identity.authenticate({ transport: "socket", ticket } as Credentials);
  return { ticketKey, admit, revocations };
}

/** What a ticket allows. */
export function methodsOf(ticket: string | undefined): Record<string, string> {
  const [, payload = ""] = ticket?.split(".") ?? [];
  return JSON.parse(Buffer.from(payload, "base64url").toString()).mth;
}

/** An error as a caller gets it. */
export const refused = (code: string, reason?: string) => ({ code, ...(reason ? { details: { reason } } : {}) });
