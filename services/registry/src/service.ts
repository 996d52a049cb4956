import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import { type CallContext, HmsError, implement, type ServiceRegistration } from "@hms/kernel";
import type { Access } from "./access/open-access.ts";
import { invalid } from "./errors.ts";
import { readListing, readSelection } from "./listing-request.ts";
import { lookup } from "./lookup.ts";
import { writePageToken } from "./page-token.ts";
import { readRegistration, renewIntervalMs } from "./register-request.ts";
import type { Registrations } from "./registrations.ts";
import { environmentOf, keyViolations, type ServiceKey } from "./service-key.ts";
import type { RegistryStore } from "./store.ts";
import type { WatchHub } from "./watch-hub.ts";
import { watchServices } from "./watch-services.ts";

const DEFAULT_VERSION = "v1";

/** Tries a call's work again while PostgreSQL is away, until its deadline. */
export type Patience = <T>(context: CallContext, work: () => Promise<T>) => Promise<T>;

/** What the handlers stand on. */
export interface RegistryParts {
  store: RegistryStore;
  registrations: Registrations;
  hub: WatchHub;
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

function notYet(): never {
  throw new HmsError("UNIMPLEMENTED", "The registry of this release does not do that yet.");
}

/** The methods of hms.ffi.v1's registry over their parts. */
export function registryRegistration(parts: RegistryParts): ServiceRegistration {
  const { store, registrations, hub, access, patiently, untilEnd } = parts;
  return implement(registry.RegistryService, {
    async register(request, context) {
      const registration = readRegistration(request);
      const { instanceId } = registration;
      await patiently(context, () => access.ownership.claim(context.principal, registration));
      const end = await patiently(context, () => registrations.register(registration));
      const ticketKey = await patiently(context, () => access.store.ticketKey(registration, instanceId));
      return {
        ...(ticketKey === undefined ? {} : { ticketKey }),
        leaseExpiresAt: timestampFromDate(end),
        renewInterval: durationFromMs(renewIntervalMs(registration.leaseMs)),
      };
    },

    async unregister(request, context) {
      const key = readKey(request);
      await patiently(context, () => access.ownership.mustOwn(context.principal, key));
      await patiently(context, () => registrations.unregister(key, request.instanceId));
      await patiently(context, () => access.ownership.handOver(context.principal, key));
      return {};
    },

    async lookup(request, context) {
      const key = readKey({ ...request, version: request.version || DEFAULT_VERSION });
      const service = await lookup(store, key, (work) => patiently(context, work));
      const instanceIds = service.instances.map(({ instanceId }) => instanceId);
      const tickets = await patiently(context, () => access.tickets.issue(key, instanceIds, context.principal));
      return { service, tickets };
    },

    async list(request, context) {
      const query = readListing(request);
      const { limit } = query;
      const found = await patiently(context, () => store.list({ ...query, limit: limit + 1 }));
      const page = found.slice(0, limit);
      const last = page.at(-1);
      const nextPageToken = last && found.length > limit ? writePageToken(query, last.key) : "";
      return { services: page.map(({ entry }) => entry), nextPageToken };
    },

    getContract: notYet,
    checkContract: notYet,
    registerForeign: notYet,

    async reportCalls(request, context) {
      const key = readKey(request);
      await patiently(context, () => access.ownership.mustOwn(context.principal, key));
      access.reports.record(key, request.calls);
      return {};
    },

    watch(request, context) {
      const selection = readSelection(request);
      return watchServices(selection, {
        store,
        hub,
        revocations: () => access.revocations.current,
        signal: untilEnd(context),
        patiently: (work) => patiently(context, work),
      });
    },
  });
}
