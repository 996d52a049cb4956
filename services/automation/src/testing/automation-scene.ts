import { automationRuns, automationSteps, registry } from "@hms/contracts";
import { openDurable } from "@hms/durable";
import {
  anonymous,
  type CallContext,
  type Client,
  HmsError,
  implement,
  Kernel,
  type Principal,
  type ServiceImplementation,
} from "@hms/kernel";
import { openServiceDatabase } from "@hms/postgres";
import { openEmptyDatabase } from "@hms/testkit";
import { createRequestValidator } from "@hms/validation";
import {
  type AutomationService,
  type AutomationServiceOptions,
  type AutomationTables,
  automationMigrations,
  createAutomationService,
} from "../index.ts";

/** Somebody. */
export const anna: Principal = { kind: "user", id: "anna", roles: ["developer"] };
/** Somebody else. */
export const otto: Principal = { kind: "user", id: "otto" };
/** A program that works on queues. */
export const etl: Principal = { kind: "service", id: "default/etl" };

type Handlers = Partial<ServiceImplementation<typeof registry.RegistryService>>;

/** What a test can take away. */
interface Rights {
  /** "otto runs:work", "anna registry:read". */
  readonly denied: Set<string>;
  /** Who may not come in any more. */
  readonly gone: Set<string>;
}

/** The automation service over a database of its own; the methods that steps call are those of the registry's contract. */
export async function openAutomationScene(
  handlers: Handlers = {},
  more: Partial<AutomationServiceOptions> = {},
): Promise<AutomationScene> {
  await using stack = new AsyncDisposableStack();
  const { source } = stack.use(await openEmptyDatabase());
  const schema = { source, service: "automation", migrations: automationMigrations };
  const database = stack.use(await openServiceDatabase<AutomationTables>(schema));
  const durable = stack.use(await openDurable({ source }));
  const rights: Rights = { denied: new Set(), gone: new Set() };
  const failures: HmsError[] = [];
  const kernel = new Kernel({
    identity: {
      authenticate: ({ token }) => [anna, otto, etl].find(({ id }) => id.endsWith(token ?? "?")) ?? anonymous,
    },
    policy: {
      decide: ({ principal, permission, resource }) =>
        [permission, `${permission} ${resource}`].some((each) => rights.denied.has(`${principal.id} ${each}`))
          ? { allowed: false, reason: "not now" }
          : { allowed: true },
      filter: ({ principal, permission }) => ({
        where: { all: [] },
        whereUnplaced: { all: [] },
        allows: ({ name }) =>
          [permission, `${permission} ${name}`].every((each) => !rights.denied.has(`${principal.id} ${each}`)),
      }),
    },
    audit: { accepts: true, record: () => {} },
    validator: createRequestValidator(),
  });
  kernel.register(implement(registry.RegistryService, all(handlers) as never));
  const own = {
    database,
    durable,
    kernel,
    current: (principal: Principal) => (rights.gone.has(principal.id) ? undefined : principal),
    pollMs: 100,
    leaseMs: 2000,
    onFailure: (failure: HmsError) => failures.push(failure),
    ...more,
  };
  const service = createAutomationService(own);
  stack.use(service);
  for (const registration of service.registrations) kernel.register(registration);
  const owned = stack.move();
  return {
    kernel,
    durable,
    rights,
    failures,
    registrations: service.registrations,
    another: () => createAutomationService(own),
    closeService: () => service[Symbol.asyncDispose](),
    runs: (as = anna) => kernel.client(automationRuns.RunService, as),
    steps: (as = etl) => kernel.client(automationSteps.StepService, as),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** What a test of the automation service has. */
export interface AutomationScene extends AsyncDisposable {
  readonly kernel: Kernel;
  readonly durable: Awaited<ReturnType<typeof openDurable>>;
  readonly rights: Rights;
  readonly failures: HmsError[];
  readonly registrations: ReturnType<typeof createAutomationService>["registrations"];
  /** Another server's, on the same database. */
  another(): AutomationService;
  /** As a server that ends does; what is asked by `runs` is answered all the same. */
  closeService(): PromiseLike<void>;
  runs(as?: Principal): Client<typeof automationRuns.RunService>;
  steps(as?: Principal): Client<typeof automationSteps.StepService>;
}

function all(handlers: Handlers): object {
  const unused = () => {
    throw new HmsError("UNIMPLEMENTED", "Not part of this test.");
  };
  return Object.fromEntries(
    registry.RegistryService.methods.map(({ localName }) => [
      localName,
      (request: never, context: CallContext) =>
        (((handlers as Record<string, unknown>)[localName] as typeof unused | undefined) ?? unused)(
          ...([request, context] as unknown as []),
        ),
    ]),
  );
}
