export { type AccountBook, openAccountBook } from "./account-book.ts";
export { createCredentialService } from "./credentials/credential-service.ts";
export { Revocations } from "./credentials/revocations.ts";
export type { IdentityTables } from "./identity-tables.ts";
export { type IdentityOptions, type IdentityService, openIdentityService } from "./open-identity.ts";
export type { BreachedPasswords, Judge, Mail, Mailer } from "./ports.ts";
export type { RoleBook } from "./roles/role-book.ts";

/** The migrations of the identity schema. */
export const identityMigrations = new URL("../migrations/", import.meta.url);
