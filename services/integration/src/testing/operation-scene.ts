import { toBinary } from "@bufbuild/protobuf";
import { integrationOperations, registry } from "@hms/contracts";
import { openEventLog } from "@hms/events";
import {
  anonymous,
  type CallContext,
  HmsError,
  implement,
  Kernel,
  type Principal,
  type ServiceImplementation,
} from "@hms/kernel";
import { openTestDatabase } from "@hms/testkit";
import { expect } from "vitest";
import {
  type IntegrationTables,
  integrationComponents,
  integrationMigrations,
  openIntegrationService,
} from "../index.ts";

const { OperationService } = integrationOperations;
const { LookupRequestSchema } = registry;

/** What a test has opened, and what has failed in the background without anybody waiting. */
export const scene = { stack: new AsyncDisposableStack(), failures: [] as HmsError[] };

/** Closes what a test has opened; for afterEach. */
export async function clearScene(): Promise<void> {
  await scene.stack.disposeAsync();
  scene.stack = new AsyncDisposableStack();
  expect(scene.failures.splice(0)).toEqual([]);
}

/** Somebody. */
export const anna: Principal = { kind: "user", id: "anna", roles: ["doctor"] };
/** Somebody else. */
export const otto: Principal = { kind: "user", id: "otto" };
/** The operator. */
export const operator: Principal = { kind: "operator", id: "operator" };
const PEOPLE: Record<string, Principal> = { anna, otto, operator };

type Handlers = ServiceImplementation<typeof registry.RegistryService>;

/** A process that serves operations; the methods they call are those of the registry's contract. */
class Process {
  readonly kernel: Kernel;
  readonly handlers: Partial<Handlers> = {};
  readonly told: integrationOperations.Operation[] = [];
  denied = new Set<string>();

  constructor() {
    this.kernel = new Kernel({
      identity: { authenticate: ({ token }) => PEOPLE[token ?? ""] ?? anonymous },
      policy: {
        decide: ({ principal }) =>
          this.denied.has(principal.id) || principal === anonymous
            ? { allowed: false, reason: "not now" }
            : { allowed: true },
      },
      audit: { accepts: true, record: () => {} },
    });
    const { RegistryService } = registry;
    const unused = () => {
      throw new HmsError("UNIMPLEMENTED", "Not part of this test.");
    };
    const all = Object.fromEntries(
      RegistryService.methods.map(({ localName }) => [
        localName,
        (request: never, context: CallContext) =>
          (((this.handlers as Record<string, unknown>)[localName] as typeof unused | undefined) ?? unused)(
            ...([request, context] as unknown as []),
          ),
      ]),
    );
    this.kernel.register(implement(RegistryService, all as never));
  }
}

/** Opens the integration service's part of a database of its own, and the event log. */
export async function openDatabase() {
  const options = { service: "integration", migrations: integrationMigrations, components: integrationComponents };
  const own = scene.stack.use(await openTestDatabase<IntegrationTables>(options));
  return { ...own, events: scene.stack.use(await openEventLog({ source: own.source })) };
}

type Database = Awaited<ReturnType<typeof openDatabase>>;

/** Serves operations in a process of their own, over handlers of the registry's methods. */
export async function serve(
  own: Database,
  handlers: Partial<Handlers>,
  options: Partial<Parameters<typeof openIntegrationService>[0]> = {},
) {
  const running = new Process();
  Object.assign(running.handlers, handlers);
  const service = await openIntegrationService({
    database: own.database,
    events: own.events,
    kernel: running.kernel,
    pollMs: 50,
    graceMs: 200,
    onFailure: (failure) => scene.failures.push(failure),
    ...options,
  });
  for (const registration of service.registrations) running.kernel.register(registration);
  scene.stack.use(service);
  return {
    ...running,
    service,
    process: running,
    as: (who: Principal) => running.kernel.client(OperationService, who),
  };
}

/** A request to start Lookup, which may be repeated. */
export const lookup = (serviceId: string) => ({
  service: "hms.ffi.v1.RegistryService",
  method: "Lookup",
  request: toBinary(LookupRequestSchema, {
    $typeName: LookupRequestSchema.typeName,
    serviceId,
    version: "",
    environment: "",
  }),
});
/** A request to start Unregister. */
export const register = { service: "hms.ffi.v1.RegistryService", method: "Unregister", request: new Uint8Array() };
/** The id of the operation that an answer holds. */
export const idOf = ({ operation }: { operation?: { operationId: string } | undefined }) =>
  operation?.operationId ?? "";
