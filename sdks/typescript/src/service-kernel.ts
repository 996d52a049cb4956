import { timestampMs } from "@bufbuild/protobuf/wkt";
import { ServiceWatch } from "@hms/directory";
import { anonymous, type CallObserver, type CallTracer, HmsError, type IdentitySource, Kernel } from "@hms/kernel";
import {
  createCallReporter,
  createTicketIdentity,
  createTicketPolicy,
  isTicketRevoked,
  RevocationList,
} from "@hms/tickets";
import { createRequestValidator } from "@hms/validation";
import { countingObserver } from "./call-counters.ts";
import type { Connection } from "./connection.ts";
import { FfiError } from "./errors.ts";

/** Who looks at the calls of a service. */
export interface KernelWishes {
  /** Hears how every call ended, for logs and metrics of its own; default: nobody. Calls are counted anyhow (`metricsText`). */
  readonly observer?: CallObserver;
  /** Follows calls with spans, `openTelemetryTracer()` by the OpenTelemetry API; default: nobody. Trace context is passed on anyhow. */
  readonly tracer?: CallTracer;
  /** Without a registry: the key by which tickets are checked, and the audience they must name (docs/tickets.md). */
  readonly access?: { readonly ticketKey: Uint8Array; readonly audience: string };
  /** Hears what fails with no caller to tell; default: nobody. */
  readonly onFailure?: (failure: FfiError) => void;
}

/** Which instance of a service this is. */
export interface InstanceName {
  serviceId: string;
  version: string;
  environment: string;
  instanceId: string;
}

/** What looks at every call. */
function watching({ observer, tracer }: KernelWishes) {
  const own = { validator: createRequestValidator(), observer: countingObserver(observer) };
  return tracer ? { ...own, tracer } : own;
}

/** A kernel without a registry: for everybody, or for whoever shows a ticket made with the key given. */
export function kernelAlone(options: KernelWishes): Kernel {
  const { access } = options;
  const audit = { accepts: true, record: () => {} };
  if (access === undefined) {
    return new Kernel({
      identity: { authenticate: () => anonymous },
      policy: { decide: () => ({ allowed: true }) },
      audit,
      ...watching(options),
    });
  }
  const keys = new Map([[access.audience, access.ticketKey]]);
  return new Kernel({
    identity: ticketsOnly(createTicketIdentity({ keys })),
    policy: createTicketPolicy(),
    audit,
    ...watching(options),
  });
}

/** What a registered service's kernel stands on. */
interface KernelParts {
  connection: Connection;
  keys: ReadonlyMap<string, Uint8Array>;
  stack: AsyncDisposableStack;
  options: KernelWishes;
}

/**
 * Knows callers by their tickets, ends their streams when these are revoked, allows what these allow, and tells the
 * registry of calls.
 */
export function registeredKernel(name: InstanceName, { connection, keys, stack, options }: KernelParts): Kernel {
  const failed = (failure: HmsError) => options.onFailure?.(FfiError.of(failure));
  const revocations = new RevocationList();
  const audit = createCallReporter({ registry: connection.registry, instances: [name], onFailure: failed });
  const kernel = new Kernel({
    identity: ticketsOnly(createTicketIdentity({ keys, revocations })),
    policy: createTicketPolicy(),
    audit,
    ...watching(options),
  });
  const { environment, serviceId } = name;
  const watch = new ServiceWatch(
    connection.watcher,
    { environment, pattern: serviceId },
    {
      changed: () => {},
      failed,
      revoked: ({ principal, serviceId: about, issuedBefore }) => {
        const issuedBeforeS = issuedBefore ? timestampMs(issuedBefore) / 1000 : Date.now() / 1000;
        revocations.add({ principal, serviceId: about, issuedBeforeS });
        kernel.endStreams((caller) => isTicketRevoked(caller, revocations));
      },
    },
  );
  stack.defer(() => watch.stop());
  stack.use(audit);
  return kernel;
}

/** Whoever shows no ticket is told what is missing. */
function ticketsOnly(tickets: IdentitySource): IdentitySource {
  return {
    authenticate(credentials) {
      if (credentials.ticket !== undefined) return tickets.authenticate(credentials);
      throw new HmsError(
        "UNAUTHENTICATED",
        "Calls need a ticket: look the service up and show the ticket it answers.",
        {
          reason: "TICKET_INVALID",
        },
      );
    },
  };
}
