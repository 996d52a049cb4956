import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import { type CallContext, HmsError, implement, type ServiceRegistration } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
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

/** How long a call without a deadline waits for PostgreSQL. */
const PATIENCE_MS = 10_000;
const DEFAULT_VERSION = "v1";

/** What the handlers stand on. */
export interface RegistryParts {
  store: RegistryStore;
  registrations: Registrations;
  hub: WatchHub;
  /** Settles when leases have been looked through after the start. */
  ready: Promise<void>;
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
  const { store, registrations, hub, untilEnd } = parts;
  /** Every method may safely be tried again while PostgreSQL is away. */
  const patiently = async <T>(context: CallContext, work: () => Promise<T>): Promise<T> => {
    const signal = untilEnd(context);
    await parts.ready;
    return retryWhileUnavailable(work, { signal, deadlineMs: context.remainingMs ?? PATIENCE_MS });
  };

  return implement(registry.RegistryService, {
    async register(request, context) {
      const registration = readRegistration(request);
      const end = await patiently(context, () => registrations.register(registration));
      return {
        leaseExpiresAt: timestampFromDate(end),
        renewInterval: durationFromMs(renewIntervalMs(registration.leaseMs)),
      };
    },

    async unregister(request, context) {
      const key = readKey(request);
      await patiently(context, () => registrations.unregister(key, request.instanceId));
      return {};
    },

    async lookup(request, context) {
      const key = readKey({ ...request, version: request.version || DEFAULT_VERSION });
      return { service: await lookup(store, key, (work) => patiently(context, work)) };
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
    reportCalls: notYet,

    watch(request, context) {
      const selection = readSelection(request);
      return watchServices(selection, {
        store,
        hub,
        signal: untilEnd(context),
        patiently: (work) => patiently(context, work),
      });
    },
  });
}
