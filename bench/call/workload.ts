import { create } from "@bufbuild/protobuf";
import { ffiOptions, registry } from "@hms/contracts";
import { HmsError, implement, Kernel } from "@hms/kernel";
import { createCallMetrics, createCallTracer } from "@hms/telemetry";
import { createTicketIdentity, createTicketPolicy, LONGEST_TICKET_S, mintTicket, ticketAudience } from "@hms/tickets";
import { createRequestValidator } from "@hms/validation";

/** The method every contender serves. */
export const LOOKUP = registry.RegistryService.method.lookup;

/** What is asked: small and ordinary. */
export const REQUEST = create(registry.LookupRequestSchema, {
  serviceId: "hms.cdf.debate",
  version: "v1",
  environment: "default",
});

/** What is answered: one service with two instances, about 190 bytes. */
export const RESPONSE = create(registry.LookupResponseSchema, {
  service: {
    serviceId: "hms.cdf.debate",
    version: "v1",
    environment: "default",
    metadata: { language: "python", region: "eu-central-1" },
    hasContract: true,
    instances: [1, 2].map((n) => ({
      instanceId: `debate-${n}`,
      address: `unix:/run/hms/ffi/debate-${n}.sock`,
      state: registry.InstanceState.AVAILABLE,
      leaseExpiresAt: { seconds: 1_790_000_000n, nanos: n },
    })),
  },
});

/** The instance that serves, as tickets name it, and its key, which the registry would have given it. */
const AUDIENCE = ticketAudience({ environment: "default", serviceId: "hms.ffi", version: "v1", instanceId: "bench" });
const TICKET_KEY = Buffer.alloc(32, 7);

/** A ticket as the registry issues it with a lookup: a service that may call one method, for a minute. */
export function freshTicket(): string {
  const issuedAt = Math.floor(Date.now() / 1000);
  const principal = { kind: "service", id: "default/bench-svc", environment: "default", roles: ["caller"] } as const;
  const methods = new Map([["RegistryService/Lookup", ffiOptions.AuditLevel.NONE]]);
  const expiresAt = issuedAt + LONGEST_TICKET_S;
  return mintTicket({ id: "bench", audience: AUDIENCE, principal, issuedAt, expiresAt, methods }, TICKET_KEY);
}

/** A kernel as a called instance runs it: tickets, their policy, validation, audit, metrics and trace context are on. */
export function pipelineKernel(): Kernel {
  const ticketPolicy = createTicketPolicy();
  const kernel = new Kernel({
    identity: createTicketIdentity({ keys: new Map([[AUDIENCE, TICKET_KEY]]) }),
    policy: {
      // Calls within a process are made by a part of it, which needs no ticket.
      decide: (question) =>
        question.principal.kind === "component" ? { allowed: true } : ticketPolicy.decide(question),
    },
    validator: createRequestValidator(),
    audit: { accepts: true, record: () => {} },
    observer: createCallMetrics(),
    tracer: createCallTracer(),
  });
  const unused = () => {
    throw new HmsError("UNIMPLEMENTED", "Not part of the bench.");
  };
  const { RegistryService } = registry;
  const others = Object.fromEntries(RegistryService.methods.map(({ localName }) => [localName, unused]));
  const implementation = { ...others, lookup: () => RESPONSE } as never;
  kernel.register(implement(RegistryService, implementation));
  return kernel;
}
