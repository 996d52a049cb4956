import { create } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema, type MethodDescriptorProto } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import { writeDescriptorSet } from "@hms/descriptors";
import { type Client, componentPrincipal, Kernel, type Principal, type ServiceRegistration } from "@hms/kernel";
import {
  defaultVia,
  type HostedOptions,
  type nearTransports,
  openHostedTransport,
  openTestDatabase,
  openTestTransport,
  ServiceHost,
  sharedPostgres,
  type TestVia,
} from "@hms/testkit";
import { sql } from "kysely";
import {
  createRegistryService,
  type RegistryServiceOptions,
  type RegistryTables,
  registryMigrations,
} from "../index.ts";
import { grpcForeignServers } from "./grpc-foreign-servers.ts";
import type { HostedRegistryOptions } from "./registry-service-host.ts";

/** A client of the registry. */
export type RegistryClient = Client<typeof registry.RegistryService>;

/** What a registry in a process of its own can be told; `on`: the database of a scene, as it is, instead of an empty one. */
type ViaOptions = HostedRegistryOptions["own"] & { on?: Awaited<ReturnType<typeof openDatabase>> };

/** How a registry of a test differs from an ordinary one. */
type SceneOptions = Omit<RegistryServiceOptions, "database">;

/** A registry on a database of its own, in this process, for tests that look into it. */
export async function openSceneHere(stack: AsyncDisposableStack, options: SceneOptions = {}) {
  return openNear(stack, "in-process", options);
}

/** A registry in this process, or in one of its own where HMS_TEST_VIA says so. */
export async function openScene(stack: AsyncDisposableStack, options: ViaOptions = {}): Promise<SceneVia> {
  return openSceneVia(stack, await defaultVia(), options);
}

async function openNear(
  stack: AsyncDisposableStack,
  via: (typeof nearTransports)[number],
  { on, ...options }: SceneOptions & ViaOptions,
) {
  const own = on ?? stack.use(await openDatabase());
  const service = stack.use(createRegistryService({ database: own.database, ...options }));
  const transport = stack.use(await openTestTransport([service.registration], via));
  const stop = () => service[Symbol.asyncDispose]();
  return { own, service, client: transport.client(registry.RegistryService), as: callersOf(service), stop };
}

const openDatabase = () => openTestDatabase<RegistryTables>({ service: "registry", migrations: registryMigrations });

/** A registry of a test, wherever it runs. */
type SceneVia = Pick<Awaited<ReturnType<typeof openNear>>, "own" | "client" | "as" | "stop">;

/** A process for registries, and the database that they share, empty for each of them; a test file that uses it ends it. */
class RegistryHost implements AsyncDisposable {
  readonly #host = new ServiceHost(new URL("./registry-service-host.ts", import.meta.url));
  #own: Awaited<ReturnType<typeof openDatabase>> | undefined;

  async open(stack: AsyncDisposableStack, via: HostedOptions["via"], { on, ...options }: ViaOptions) {
    const own = on ?? (await this.#emptied());
    const { paths, databaseUrl } = await sharedPostgres();
    const { database = "" } = await own.source.admin();
    const hosted = { paths, databaseUrl, database, own: options } satisfies HostedRegistryOptions;
    const transport = stack.use(await openHostedTransport(this.#host, { part: "registry", via, options: hosted }));
    const { RegistryService } = registry;
    const as = (who: Principal) => transport.as(RegistryService, who);
    return { own, client: transport.client(RegistryService), as, stop: () => transport[Symbol.asyncDispose]() };
  }

  async #emptied() {
    if (this.#own === undefined) {
      this.#own = await openDatabase();
      return this.#own;
    }
    const { db } = this.#own.database;
    await sql`truncate service, instance, contract, policy, revocation, service_owner, policy_file, foreign_server`.execute(
      db,
    );
    return this.#own;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#host[Symbol.asyncDispose]();
    const own = this.#own;
    this.#own = undefined;
    await own?.[Symbol.asyncDispose]();
  }
}

/** The process for registries in processes of their own. */
export const registryHost = new RegistryHost();

/** A registry that knows stock gRPC servers, called in one of the ways; its database is empty. */
export async function openSceneVia(
  stack: AsyncDisposableStack,
  via: TestVia,
  options: ViaOptions = {},
): Promise<SceneVia> {
  if (via === "process" || via === "process-mtls") return registryHost.open(stack, via, options);
  return openNear(stack, via, { ...options, foreignServers: grpcForeignServers });
}

/** A kernel with one service, where everybody may do everything. */
export function kernelFor(registration: ServiceRegistration): Kernel {
  const kernel = new Kernel({
    identity: { authenticate: () => componentPrincipal("test") },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
  kernel.register(registration);
  return kernel;
}

/** Clients of a service in this process, by principal. */
function callersOf({ registration }: { registration: ServiceRegistration }) {
  const kernel = kernelFor(registration);
  return (principal: Principal): RegistryClient => kernel.client(registry.RegistryService, principal);
}

/** An instance of a service as it registers. */
export function instance(
  serviceId: string,
  init: { instanceId?: string; version?: string; environment?: string } = {},
) {
  const { instanceId = "i-1" } = init;
  return { serviceId, version: "v1", instanceId, address: `unix:/run/${instanceId}.sock`, ...init };
}

/** A contract of acme.shop.v1 with these methods, whose message Order has these fields by number. */
export function shopContract(
  fields: Record<number, string>,
  { methods = ["Get"], comment = "" }: { methods?: string[]; comment?: string } = {},
) {
  const type = ".acme.shop.v1.Order";
  const numbers = Object.entries(fields);
  const file = create(FileDescriptorProtoSchema, {
    name: "acme/shop/v1/shop.proto",
    package: "acme.shop.v1",
    syntax: "proto3",
    messageType: [
      { name: "Order", field: numbers.map(([number, name]) => ({ name, number: Number(number), type: 9, label: 1 })) },
    ],
    service: [
      {
        name: "ShopService",
        method: methods.map(
          (name): Partial<MethodDescriptorProto> => ({ name, inputType: type, outputType: type }),
        ) as never,
      },
    ],
    ...(comment === ""
      ? {}
      : { sourceCodeInfo: { location: [{ path: [4, 0], span: [0, 0, 0], leadingComments: comment }] } }),
  });
  return writeDescriptorSet(create(FileDescriptorSetSchema, { file: [file] }));
}
