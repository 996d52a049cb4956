import type { Generated } from "kysely";

interface SecretTable {
  environment: string;
  name: string;
  next_version: Generated<string>;
  removed_at: Date | null;
  created_at: Generated<Date>;
}

interface SecretVersionTable {
  environment: string;
  name: string;
  version: string;
  /** Null: destroyed. */
  sealed: Buffer | null;
  set_by: string;
  set_at: Generated<Date>;
  destroyed_at: Date | null;
}

/** The tables of secrets, in the deployment's schema. */
export interface SecretTables {
  secret: SecretTable;
  secret_version: SecretVersionTable;
}

/** Versions of secrets by their names, as a revision keeps them. */
export type SecretVersions = Readonly<Record<string, number>>;
