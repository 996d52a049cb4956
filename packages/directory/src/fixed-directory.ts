import { create } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { ChangeSignal } from "@hms/kernel";
import { readContractOf, type ServiceContract } from "./contract-cache.ts";
import type { Directory } from "./directory.ts";
import type { ServiceKey } from "./service-key.ts";
import type { FoundService } from "./service-slot.ts";
import { TicketSet } from "./ticket-set.ts";

/** The one place that a fixed directory knows. */
export interface FixedPlace {
  readonly address: string;
  /** A serialized FileDescriptorSet; default: every method takes and answers any JSON object. */
  readonly contract?: Uint8Array | undefined;
  /** Goes with every call; default: none. */
  readonly ticket?: string | undefined;
}

/** A directory that needs no registry: every service is at one address. */
export function fixedDirectory({ address, contract, ticket }: FixedPlace): Directory {
  const instanceId = "fixed";
  const tickets = new TicketSet(ticket === undefined ? [] : [{ instanceId, ticket } as registry.Ticket], 60_000);
  const entries = new Map<string, FoundService>();
  const digest = contract ? "fixed" : "";
  let read: ServiceContract | undefined;
  const lookup = (key: ServiceKey): FoundService => {
    const name = `${key.environment} ${key.serviceId} ${key.version}`;
    let found = entries.get(name);
    if (found === undefined) {
      const instances = [{ instanceId, address, state: registry.InstanceState.AVAILABLE }];
      const hasContract = contract !== undefined;
      const entry = create(registry.ServiceEntrySchema, { ...key, hasContract, contractDigest: digest, instances });
      found = { entry, tickets: tickets.byInstance };
      entries.set(name, found);
    }
    return found;
  };
  return {
    changed: new ChangeSignal(),
    lookup,
    renew: async (key) => lookup(key),
    contract: (entry) => {
      if (contract === undefined) return undefined;
      read ??= readContractOf(entry, { fileDescriptorSet: contract, contractDigest: digest });
      return read;
    },
    follow: async () => {},
    entry: (key) => lookup(key).entry,
    entries: () => [],
    isCurrent: () => true,
    [Symbol.asyncDispose]: async () => {},
  };
}
