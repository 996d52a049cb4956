import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import { type CallContext, implement, principalName, type ServiceRegistration } from "@hms/kernel";
import type { Access } from "./access/open-access.ts";
import { isVisible, visibleServices } from "./access/visible-services.ts";
import { checkContract, getContract } from "./contract-answers.ts";
import { invalid, noForeignServers } from "./errors.ts";
import type { ForeignKeeper } from "./foreign-keeper.ts";
import { readForeign } from "./foreign-request.ts";
import { readListing, readSelection } from "./listing-request.ts";
import { lookup } from "./lookup.ts";
import { writePageToken } from "./page-token.ts";
import { mayReplaceOthers, readRegistration, renewIntervalMs } from "./register-request.ts";
import type { Registrations } from "./registrations.ts";
import { environmentOf, keyViolations, type ServiceKey } from "./service-key.ts";
import type { RegistryStore } from "./store.ts";
import type { WatchHub } from "./watch-hub.ts";
import { type WatchParts, watchServices } from "./watch-services.ts";

const DEFAULT_VERSION = "v1";

/** Tries a call's work again while PostgreSQL is away, until its deadline. */
export type Patience = <T>(context: CallContext, work: () => Promise<T>) => Promise<T>;

/** What the handlers stand on. */
export interface RegistryParts {
  store: RegistryStore;
  registrations: Registrations;
  /** Absent: stock gRPC servers cannot be registered. */
  foreign: ForeignKeeper | undefined;
  hub: WatchHub;
  readPage: WatchParts["readPage"];
  access: Access;
  patiently: Patience;
  /** The signal of a call that also ends when the service stops. */
  untilEnd: (context: CallContext) => AbortSignal;
}

function readKey(request: { environment: string; serviceId: string; version: string }): ServiceKey {
  const key = { environment: environmentOf(request), serviceId: request.serviceId, version: request.version };
  const violations = keyViolations(key);
  if (violations.length > 0) throw invalid("The service's name", violations);
  return key;
}

async function registerForeign(
  { foreign, access, store, patiently, untilEnd }: RegistryParts,
  request: registry.RegisterForeignRequest,
  context: CallContext,
) {
  if (foreign === undefined) throw noForeignServers();
  const server = readForeign(request, context.principal);
  const offered = await foreign.read(server, untilEnd(context));
  for (const one of offered) await patiently(context, () => access.ownership.claim(context.principal, one));
  const changed = await patiently(context, () => foreign.put(server, offered, { onlyIfKnown: false }));
  const services = await patiently(context, () => store.findAll(changed ?? []));
  return { services: services.map(({ entry }) => entry) };
}

async function list({ store, patiently }: RegistryParts, request: registry.ListRequest, context: CallContext) {
  const query = readListing(request);
  const { limit } = query;
  const found = await visibleServices(context).page({
    limit: limit + 1,
    read: ({ after, ...page }) =>
      patiently(context, () => store.list({ ...query, ...page, after: after?.key ?? query.after })),
    throwIfEnded: () => context.throwIfEnded(),
  });
  const page = found.slice(0, limit);
  const last = page.at(-1);
  const nextPageToken = last && found.length > limit ? writePageToken(query, last.key) : "";
  return { services: page.map(({ entry }) => entry), nextPageToken };
}

/** The methods that answer for contracts. */
function contractMethods(store: RegistryStore, patiently: Patience) {
  const keyOf = (request: Parameters<typeof readKey>[0]) =>
    readKey({ ...request, version: request.version || DEFAULT_VERSION });
  return {
    getContract: async (request: registry.GetContractRequest, context: CallContext) =>
      getContract(store, keyOf(request), (work) => patiently(context, work)),
    checkContract: async (request: registry.CheckContractRequest, context: CallContext) =>
      checkContract(store, { key: keyOf(request), request }, (work) => patiently(context, work)),
  };
}

/** The methods of hms.ffi.v1's registry over their parts. */
export function registryRegistration(parts: RegistryParts): ServiceRegistration {
  const { store, registrations, hub, access, patiently, untilEnd } = parts;
  return implement(registry.RegistryService, {
    async register(request, context) {
      const registration = readRegistration(request, context.principal);
      await patiently(context, () => access.ownership.claim(context.principal, registration));
      const registered = await patiently(context, () => registrations.register(registration));
      if (registered.isRenewal) context.changedNothing();
      return {
        leaseExpiresAt: timestampFromDate(registered.leaseExpiresAt),
        ticketKey: registered.ticketKey,
        warnings: registered.warnings,
        renewInterval: durationFromMs(renewIntervalMs(registration.leaseMs)),
      };
    },

    async unregister(request, context) {
      const key = readKey(request);
      const { principal } = context;
      const removal = {
        instanceId: request.instanceId,
        principal: principalName(principal),
        mayReplace: mayReplaceOthers(principal),
      };
      await patiently(context, () => access.ownership.mustOwn(principal, key));
      await patiently(context, () => registrations.unregister(key, removal));
      await patiently(context, () => access.ownership.handOver(principal, key));
      return {};
    },

    async lookup(request, context) {
      const key = readKey({ ...request, version: request.version || DEFAULT_VERSION });
      const asked = access.tickets.ask(key, context.principal);
      const asking = {
        patiently: <T>(work: () => Promise<T>) => patiently(context, work),
        isVisible: isVisible(context),
      };
      const service = await lookup(store, key, asking);
      const instanceIds = service.instances.map(({ instanceId }) => instanceId);
      const tickets = asked ? await patiently(context, () => access.tickets.issue(asked, instanceIds)) : [];
      return { service, tickets };
    },

    list: (request, context) => list(parts, request, context),

    ...contractMethods(store, patiently),

    registerForeign: (request, context) => registerForeign(parts, request, context),

    async reportCalls(request, context) {
      const key = readKey(request);
      await patiently(context, () => access.ownership.mustOwn(context.principal, key));
      // Whoever reports drops its own copy with the answer.
      await access.reports.record(key, request.calls);
      return {};
    },

    watch(request, context) {
      const selection = readSelection(request);
      return watchServices(selection, {
        readPage: parts.readPage,
        hub,
        revocations: () => access.revocations.current,
        signal: untilEnd(context),
        patiently: (work) => patiently(context, work),
        isVisible: isVisible(context),
      });
    },
  });
}
