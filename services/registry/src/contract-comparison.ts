import type { FileRegistry, MessageInitShape } from "@bufbuild/protobuf";
import type { registry } from "@hms/contracts";
import { contractDifferences } from "@hms/descriptors";
import type { ReadyContract } from "./contract-offer.ts";

/** A difference as it is told. */
export type ToldDifference = MessageInitShape<typeof registry.ContractDifferenceSchema> & {
  subject: string;
  description: string;
  breaking: boolean;
};

/** What a schema says and its contract does not is told like a difference, under this name. */
const SCHEMA_RULE = "SCHEMA_NOT_SAID";

/** How a contract differs from the stored one, breaking differences first; without one, only what it does not say. */
export function compareContracts(before: FileRegistry | undefined, { files, notes }: ReadyContract): ToldDifference[] {
  const differences = before === undefined ? [] : contractDifferences(before, files);
  return [
    ...differences.map(({ rule, subject, severity, change, breaks, instead }) => ({
      rule,
      subject,
      description: `${change} ${breaks} ${instead}`,
      breaking: severity === "error",
    })),
    ...notes.map(({ subject, text }) => ({ rule: SCHEMA_RULE, subject, description: text, breaking: false })),
  ];
}
