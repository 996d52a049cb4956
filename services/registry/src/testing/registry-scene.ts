import { create } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema, type MethodDescriptorProto } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import { writeDescriptorSet } from "@hms/descriptors";
import { type Client, componentPrincipal, Kernel, type Principal, type ServiceRegistration } from "@hms/kernel";
import { openTestDatabase, openTestTransport, type testTransports } from "@hms/testkit";
import {
  createRegistryService,
  type RegistryServiceOptions,
  type RegistryTables,
  registryMigrations,
} from "../index.ts";

/** A client of the registry. */
export type RegistryClient = Client<typeof registry.RegistryService>;

/** A registry on a database of its own, called one way or the other. */
export async function openScene(
  stack: AsyncDisposableStack,
  options: { via?: (typeof testTransports)[number] } & Omit<RegistryServiceOptions, "database"> = {},
) {
  const { via = "in-process", ...others } = options;
  const own = stack.use(
    await openTestDatabase<RegistryTables>({ service: "registry", migrations: registryMigrations }),
  );
  const service = stack.use(createRegistryService({ database: own.database, ...others }));
  const transport = stack.use(await openTestTransport([service.registration], via));
  return { own, service, client: transport.client(registry.RegistryService), as: callersOf(service) };
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
