import type { ActingFor } from "./accounts/acting-for.ts";
import type { IdentityChanges } from "./identity-changes.ts";
import type { IdentityDatabase } from "./identity-tables.ts";
import type { Postman } from "./mail/postman.ts";
import type { BreachedPasswords, Judge } from "./ports.ts";
import type { RoleBook } from "./roles/role-book.ts";

/** What the services' handlers stand on. */
export interface ServiceGround {
  readonly database: IdentityDatabase;
  readonly changes: IdentityChanges;
  readonly roles: RoleBook & { reload(): Promise<void> };
  readonly actingFor: ActingFor;
  readonly judge: Judge;
  /** Every permission that something asks for. */
  readonly permissions: () => Iterable<string>;
  /** Told when somebody has an account, and the set-up link has ended. */
  onSetUp(): void;
  readonly mail: Postman;
  /** Which passwords have leaked. */
  readonly breached: BreachedPasswords;
  /** Where people reach the platform. */
  readonly origin: string;
  /** The installation's name; stands in keys. */
  readonly instance: string;
}
