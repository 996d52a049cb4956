import type { FileRegistry } from "@bufbuild/protobuf";
import { readDescriptorSet } from "@hms/descriptors";
import { type RawBuilder, sql, type Transaction } from "kysely";
import { compareContracts, type ToldDifference } from "./contract-comparison.ts";
import type { ContractOffer } from "./contract-offer.ts";
import { contractBreaks } from "./errors.ts";
import type { ServiceKey } from "./service-key.ts";
import type { RegistryTables } from "./store.ts";

/** The contract of a service version as it is stored. */
export interface StoredContract {
  fileDescriptorSet: Uint8Array;
  /** Identifies what it says: 64 hexadecimal digits. */
  digest: string;
  storedAt: Date;
}

interface ContractRow {
  sha256: Uint8Array;
  file_descriptor_set: Uint8Array;
  stored_at: Date;
}

/** The stored contract of a service version. */
export function contractQuery({ environment, serviceId, version }: ServiceKey): RawBuilder<ContractRow> {
  return sql<ContractRow>`select sha256, file_descriptor_set, stored_at from contract
    where environment = ${environment} and service_id = ${serviceId} and version = ${version}`;
}

/** Reads a row of contractQuery. */
export function storedContract(row: ContractRow | undefined): StoredContract | undefined {
  if (row === undefined) return undefined;
  const { sha256, file_descriptor_set: fileDescriptorSet, stored_at: storedAt } = row;
  return { fileDescriptorSet, digest: Buffer.from(sha256).toString("hex"), storedAt };
}

/** The files of a stored contract. */
export function contractFiles(stored: StoredContract | undefined): FileRegistry | undefined {
  return stored && readDescriptorSet(stored.fileDescriptorSet);
}

/**
 * Makes an offer the contract of a service version if it breaks nobody who relies on the one before. The transaction has
 * locked the service's row. What is worth a look.
 * @throws HmsError FAILED_PRECONDITION, reason CONTRACT_BREAKS, with every difference.
 */
export async function agreeOnContract(
  transaction: Transaction<RegistryTables>,
  key: ServiceKey,
  offer: ContractOffer,
): Promise<ToldDifference[]> {
  const stored = storedContract((await contractQuery(key).execute(transaction)).rows[0]);
  // Reading a stored contract is the dearest part of a registration, and every start registers what is known already.
  let before: FileRegistry | undefined;
  const previous = () => (before ??= contractFiles(stored));
  const { files, fileDescriptorSet, digest, notes } = offer(previous);
  // The same contract with other comments: nothing to judge.
  const isSame = stored?.digest === digest;
  const differences = compareContracts(isSame ? undefined : previous(), { files, fileDescriptorSet, digest, notes });
  const breaking = differences.filter((difference) => difference.breaking);
  if (breaking.length > 0) throw contractBreaks(key, breaking);
  const { environment, serviceId, version } = key;
  await sql`
    insert into contract (environment, service_id, version, sha256, file_descriptor_set)
    values (${environment}, ${serviceId}, ${version}, ${Buffer.from(digest, "hex")}, ${fileDescriptorSet})
    on conflict (environment, service_id, version) do update
    set sha256 = excluded.sha256, file_descriptor_set = excluded.file_descriptor_set, stored_at = now()
    where contract.sha256 <> excluded.sha256 or contract.file_descriptor_set <> excluded.file_descriptor_set
  `.execute(transaction);
  return differences;
}
