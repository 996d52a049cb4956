import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import { type CallContext, HmsError, implement, principalName, type ServiceRegistration } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
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
import { watchServices } from "./watch-services.ts";

/** How long a call without a deadline waits for PostgreSQL. */
const PATIENCE_MS = 10_000;
const DEFAULT_VERSION = "v1";

/** What the handlers stand on. */
export interface RegistryParts {
  store: RegistryStore;
  registrations: Registrations;
  /** Absent: stock gRPC servers cannot be registered. */
  foreign: ForeignKeeper | undefined;
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
  const { store, registrations, foreign, hub, untilEnd } = parts;
  /** Every method may safely be tried again while PostgreSQL is away. */
  const patiently = async <T>(context: CallContext, work: () => Promise<T>): Promise<T> => {
    const signal = untilEnd(context);
    await parts.ready;
    return retryWhileUnavailable(work, { signal, deadlineMs: context.remainingMs ?? PATIENCE_MS });
  };

  return implement(registry.RegistryService, {
    async register(request, context) {
      const registration = readRegistration(request, context.principal);
      const registered = await patiently(context, () => registrations.register(registration));
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
      await patiently(context, () => registrations.unregister(key, removal));
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

    async getContract(request, context) {
      const key = readKey({ ...request, version: request.version || DEFAULT_VERSION });
      return getContract(store, key, (work) => patiently(context, work));
    },

    async checkContract(request, context) {
      const key = readKey({ ...request, version: request.version || DEFAULT_VERSION });
      return checkContract(store, { key, request }, (work) => patiently(context, work));
    },

    async registerForeign(request, context) {
      if (foreign === undefined) throw noForeignServers();
      const server = readForeign(request, context.principal);
      const registrations = await foreign.read(server, untilEnd(context));
      const changed = await patiently(context, () => foreign.put(server, registrations, { onlyIfKnown: false }));
      const services = await patiently(context, () => store.findAll(changed ?? []));
      return { services: services.map(({ entry }) => entry) };
    },

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
