import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ffiOptions, registry } from "@hms/contracts";
import { HmsError, implement, Kernel, type ServiceImplementation } from "@hms/kernel";
import { mintTicket, ticketAudience } from "@hms/tickets";
import { type SocketServer, serveSocket } from "@hms/wire";
import { mismatches } from "./matcher.ts";
import type { Policy, Step } from "./scenario.ts";
import type { RegistryControl } from "./scenario-run.ts";

type Handlers = ServiceImplementation<typeof registry.RegistryService>;
const { WatchEventKind, InstanceState } = registry;

const PATIENCE_MS = 10_000;

const LEVELS = {
  none: ffiOptions.AuditLevel.NONE,
  metadata: ffiOptions.AuditLevel.METADATA,
  request: ffiOptions.AuditLevel.REQUEST,
};

interface Known {
  request: registry.RegisterRequest;
  key: Uint8Array;
}

type Reported = Pick<registry.CallRecord, "code" | "method" | "principal" | "reason" | "requestId" | "requestJson">;

/**
 * A registry that keeps nothing and can be made to fail: the contract of hms.ffi.v1.RegistryService on a real socket, for
 * scenarios that the real one, with its database, could only be brought to with effort.
 */
export class RegistryStandIn implements RegistryControl {
  readonly path: string;
  readonly #known = new Map<string, Known>();
  readonly #watching = new Set<() => void>();
  readonly #reported: Reported[] = [];
  #server: SocketServer | undefined;
  #end = new AbortController();
  #revokedAt = 0;
  #changes = 0;
  #revocations = 0;
  #lifeS = 60;
  #policy: Policy = {};

  constructor(path: string) {
    this.path = path;
  }

  /** How the next scenario wants it. */
  configure(policy: Policy, lifeS: number): void {
    this.#policy = policy;
    this.#lifeS = lifeS;
    this.#revoke();
  }

  async start(): Promise<void> {
    this.#end = new AbortController();
    const kernel = new Kernel({
      identity: { authenticate: () => ({ kind: "service", id: "default/conformance" }) },
      policy: { decide: () => ({ allowed: true }) },
      audit: { accepts: true, record: () => {} },
    });
    kernel.register(implement(registry.RegistryService, this.#handlers()));
    this.#server = await serveSocket(kernel, { path: this.path, graceMs: 0 });
  }

  async stop(): Promise<void> {
    this.#end.abort(new HmsError("UNAVAILABLE", "The registry has stopped."));
    await this.#server?.close({ graceMs: 0 });
    this.#server = undefined;
  }

  async do(what: string, step: Step): Promise<void> {
    switch (what) {
      case "stop":
        return this.stop();
      case "start":
        return this.start();
      case "forget":
        this.#known.clear();
        return;
      case "revoke":
        return this.#revokeAndTell();
      case "lists":
        return this.#until(
          () => this.#known.size === step.count,
          () => `The registry lists ${this.#known.size} instances.`,
        );
      case "reported":
        return this.#until(
          () => this.#reported.some((each) => mismatches(step.expect, each).length === 0),
          () => `Reported was ${JSON.stringify(this.#reported)}.`,
        );
      case "reports":
        return this.#until(
          () => mismatches(step.expect, this.#reportsOf(step.requestId)).length === 0,
          () => mismatches(step.expect, this.#reportsOf(step.requestId)).join("\n"),
        );
      default:
        throw new Error(`The registry cannot ${what}.`);
    }
  }

  #reportsOf(requestId: unknown): Reported[] {
    return this.#reported.filter((each) => each.requestId === requestId);
  }

  async #until(holds: () => boolean, why: () => string): Promise<void> {
    for (const giveUpAt = Date.now() + PATIENCE_MS; !holds(); await pause(5)) {
      if (Date.now() > giveUpAt) throw new Error(why());
    }
  }

  #touch(): void {
    this.#changes += 1;
    for (const wake of this.#watching) wake();
  }

  #revoke(): void {
    this.#revokedAt = Math.floor(Date.now() / 1000) + 1;
    this.#revocations += 1;
    this.#touch();
  }

  async #revokeAndTell(): Promise<void> {
    // Tickets that were issued after the revocation before are dated at its end.
    await pause(Math.max(0, this.#revokedAt * 1000 - Date.now()));
    this.#revoke();
    // What watchers were told is on its way to them; they act on it when they read it.
    await pause(300);
  }

  #handlers(): Handlers {
    const unused = () => {
      throw new HmsError("UNIMPLEMENTED", "Not part of this registry.");
    };
    const others = Object.fromEntries(registry.RegistryService.methods.map(({ localName }) => [localName, unused]));
    const own: Partial<Handlers> = {
      register: (request) => this.#register(request),
      unregister: (request) => {
        this.#known.delete(request.instanceId);
        this.#touch();
        return {};
      },
      lookup: (request) => this.#lookup(request),
      getContract: ({ serviceId }) => this.#contract(serviceId),
      reportCalls: ({ calls }) => {
        this.#reported.push(...calls);
        return {};
      },
      watch: (_, context) => this.#watch(AbortSignal.any([context.signal, this.#end.signal])),
    };
    return { ...others, ...own } as Handlers;
  }

  #register(request: registry.RegisterRequest) {
    const known = this.#known.get(request.instanceId);
    const key = known?.key ?? new Uint8Array(randomBytes(32));
    this.#known.set(request.instanceId, { request, key });
    if (!known) this.#touch();
    const renewInterval = durationFromMs(300);
    return { leaseExpiresAt: timestampFromMs(Date.now() + 30_000), renewInterval, ticketKey: key };
  }

  #entry(serviceId: string): registry.ServiceEntry | undefined {
    const found = [...this.#known.values()].filter(({ request }) => request.serviceId === serviceId);
    if (found.length === 0) return undefined;
    return create(registry.ServiceEntrySchema, {
      serviceId,
      version: "v1",
      environment: "default",
      hasContract: found.some(({ request }) => request.fileDescriptorSet.length > 0),
      instances: found.map(({ request: { instanceId, address } }) => ({
        instanceId,
        address,
        state: InstanceState.AVAILABLE,
      })),
    });
  }

  #contract(serviceId: string) {
    const all = [...this.#known.values()].filter(({ request }) => request.serviceId === serviceId);
    const fileDescriptorSet = all.find(({ request }) => request.fileDescriptorSet.length > 0)?.request
      .fileDescriptorSet;
    if (!fileDescriptorSet) throw new HmsError("NOT_FOUND", `No contract of ${serviceId} is stored.`);
    return { fileDescriptorSet };
  }

  #lookup({ serviceId }: registry.LookupRequest) {
    const service = this.#entry(serviceId);
    if (!service) throw new HmsError("NOT_FOUND", `No service ${serviceId} is registered; hms.conformance is.`);
    return { service, tickets: service.instances.map(({ instanceId }) => this.#ticket(instanceId)) };
  }

  #ticket(instanceId: string) {
    const { key, request } = this.#known.get(instanceId) as Known;
    const issuedAt = Math.max(Math.floor(Date.now() / 1000), this.#revokedAt);
    const methods = ["Run", "RunAgain", "Read", "Collect", "Converse", "Echo"]
      .filter((name) => !this.#policy.deny?.includes(name))
      .map((name) => [`ConformanceService/${name}`, LEVELS[this.#policy.audit?.[name] ?? "metadata"]] as const);
    const ticket = mintTicket(
      {
        id: randomUUID(),
        audience: ticketAudience({ environment: "default", serviceId: request.serviceId, version: "v1", instanceId }),
        principal: { kind: "service", id: "default/conformance", environment: "default" },
        issuedAt,
        expiresAt: issuedAt + this.#lifeS,
        methods: new Map(methods),
      },
      key,
    );
    return { instanceId, ticket, expiresAt: timestampFromMs((issuedAt + this.#lifeS) * 1000) };
  }

  async *#watch(signal: AbortSignal) {
    const told = { changes: -1, revocations: 0 };
    let synced = false;
    while (!signal.aborted) {
      if (this.#revokedAt > 0 && told.revocations !== this.#revocations) {
        told.revocations = this.#revocations;
        const revocation = { principal: "", serviceId: "", issuedBefore: timestampFromMs(this.#revokedAt * 1000) };
        yield { kind: WatchEventKind.REVOKED, revocation };
      }
      told.changes = this.#changes;
      const service = this.#entry("hms.conformance");
      if (service) yield { kind: WatchEventKind.CURRENT, service };
      else if (synced) yield { kind: WatchEventKind.REMOVED, service: { serviceId: "hms.conformance", version: "v1" } };
      if (!synced) yield { kind: WatchEventKind.SYNCED };
      synced = true;
      await this.#change(told.changes, signal);
    }
    throw signal.reason;
  }

  #change(seen: number, signal: AbortSignal): Promise<void> {
    if (this.#changes !== seen || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        this.#watching.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#watching.add(wake);
      signal.addEventListener("abort", wake);
    });
  }
}
