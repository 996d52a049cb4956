import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import { keyText, type ServiceKey } from "./service-key.ts";

/** One instance of a service version as the rows have it, beside its service; no instance_id: no instance. */
export interface ListingRow {
  environment: string;
  service_id: string;
  version: string;
  metadata: Record<string, string>;
  contract_digest: string | null;
  instance_id: string | null;
  address: string | null;
  alternative_addresses: string[] | null;
  lease_expires_at: Date | null;
  available: boolean | null;
  replica: string | null;
}

/** How many calls the instance of a replica is to get, as `ServiceInstance.share`; undefined: as many as any other. */
export type ShareOf = (replica: string) => number | undefined;

/** A service entry, and its key. */
export interface Listed {
  key: ServiceKey;
  entry: registry.ServiceEntry;
}

function instanceOf(row: ListingRow, shareOf: ShareOf): registry.ServiceInstance[] {
  if (row.instance_id === null || row.lease_expires_at === null) return [];
  const share = shareOf(row.replica ?? "");
  const { AVAILABLE, UNAVAILABLE } = registry.InstanceState;
  return [
    create(registry.ServiceInstanceSchema, {
      instanceId: row.instance_id,
      address: row.address ?? "",
      alternativeAddresses: row.alternative_addresses ?? [],
      state: row.available ? AVAILABLE : UNAVAILABLE,
      leaseExpiresAt: timestampFromDate(row.lease_expires_at),
      ...(share === undefined ? {} : { share }),
      replica: row.replica ?? "",
    }),
  ];
}

/** Puts rows of the same service together; they follow each other, available instances first. */
export function listedFrom(rows: readonly ListingRow[], shareOf: ShareOf): Listed[] {
  const byKey = new Map<string, { first: ListingRow; instances: registry.ServiceInstance[] }>();
  for (const row of rows) {
    const text = keyText(keyOf(row));
    const found = byKey.get(text);
    if (found) found.instances.push(...instanceOf(row, shareOf));
    else byKey.set(text, { first: row, instances: instanceOf(row, shareOf) });
  }
  return [...byKey.values()].map(({ first, instances }) => {
    const { metadata, contract_digest: digest } = first;
    const key = keyOf(first);
    const contract = { hasContract: digest !== null, contractDigest: digest ?? "" };
    return { key, entry: create(registry.ServiceEntrySchema, { ...key, metadata, ...contract, instances }) };
  });
}

function keyOf({ environment, service_id, version }: ListingRow): ServiceKey {
  return { environment, serviceId: service_id, version };
}
