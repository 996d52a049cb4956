import type { ServiceDatabase } from "@hms/postgres";
import type { Generated, Transaction } from "kysely";

/** The tables of the identity schema. */
export interface IdentityTables {
  account: {
    account_id: string;
    kind: "user" | "service";
    login: string;
    display_name: Generated<string>;
    email: Generated<string>;
    /** When it was proven that they read mail there; null: it was not. */
    email_verified_at: Date | null;
    preferences: Generated<unknown>;
    active: Generated<boolean>;
    created_at: Generated<Date>;
    created_by: string;
    last_sign_in_at: Date | null;
    client_secret_sha256: Uint8Array | null;
  };
  password: { account_id: string; hash: string; changed_at: Generated<Date> };
  password_history: { account_id: string; hash: string; replaced_at: Generated<Date> };
  role: { name: string; description: Generated<string>; permissions: string[]; built_in: Generated<boolean> };
  role_binding: { account_id: string; role: string; bound_at: Generated<Date>; bound_by: string };
  account_group: { name: string; description: Generated<string> };
  group_member: { group_name: string; account_id: string };
  group_role: { group_name: string; role: string };
  link: {
    token_sha256: Uint8Array;
    purpose: LinkPurpose;
    account_id: string | null;
    expires_at: Date;
    email: string | null;
  };
  session: {
    session_id: string;
    token_sha256: Uint8Array;
    account_id: string;
    created_at: Generated<Date>;
    last_seen_at: Generated<Date>;
    expires_at: Date;
    methods: string[];
    authenticated_at: Generated<Date>;
    address: string;
    user_agent: string;
  };
  totp: { account_id: string; sealed: Uint8Array; created_at: Generated<Date>; last_step: Generated<string> };
  recovery_code: { account_id: string; sha256: Uint8Array };
  passkey: {
    credential_id: string;
    account_id: string;
    name: string;
    public_key: Uint8Array;
    counter: string;
    transports: string[];
    created_at: Generated<Date>;
    last_used_at: Date | null;
  };
  ceremony: {
    token_sha256: Uint8Array;
    purpose: CeremonyPurpose;
    account_id: string;
    challenge: string;
    first_method: Generated<string>;
    sealed: Uint8Array | null;
    created_at: Generated<Date>;
    expires_at: Date;
  };
  client: {
    client_id: string;
    name: string;
    redirect_uris: string[];
    scopes: string[] | null;
    secret_sha256: Uint8Array | null;
    created_at: Generated<Date>;
    created_by: string;
  };
  identity_provider: {
    name: string;
    display_name: string;
    issuer: string;
    client_id: string;
    sealed: Uint8Array;
    sign_up_domains: string[] | null;
    created_at: Generated<Date>;
  };
  sign_up_role: { provider: string; role: string };
  sign_up_group: { provider: string; group_name: string };
  outside_identity: { issuer: string; subject: string; account_id: string; linked_at: Generated<Date> };
  outside_visit: {
    state_sha256: Uint8Array;
    provider: string;
    sealed: Uint8Array;
    account_id: string | null;
    next: string;
    expires_at: Date;
  };
  api_key: {
    key_id: string;
    account_id: string;
    name: string;
    sha256: Uint8Array;
    scopes: string[];
    created_at: Generated<Date>;
    expires_at: Date;
    last_used_at: Date | null;
    revoked_at: Date | null;
  };
  attempt: { key: Uint8Array; failures: number; last_at: Generated<Date>; blocked_until: Generated<Date> };
  oidc_artifact: {
    kind: string;
    id_sha256: Uint8Array;
    payload: unknown;
    grant_sha256: Uint8Array | null;
    account_id: string | null;
    session_id: string | null;
    uid: string | null;
    user_code_sha256: Uint8Array | null;
    generation: Generated<number>;
    methods: Generated<string[]>;
    authenticated_at: Date | null;
    created_at: Generated<Date>;
    consumed_at: Date | null;
    /** Of a refresh token: when its answer had left. */
    delivered_at: Generated<Date | null>;
    expires_at: Date | null;
  };
  signing_key: {
    kid: string;
    state: "next" | "current" | "retiring";
    sealed: Uint8Array;
    public_jwk: unknown;
    created_at: Generated<Date>;
    retired_at: Date | null;
  };
}

/** What a browser has begun. */
export type CeremonyPurpose = "sign-in" | "totp" | "passkey";

/** What a link is for. */
export type LinkPurpose = "set-up" | "invitation" | "reset" | "verify";

/** The identity service's part of the database. */
export type IdentityDatabase = ServiceDatabase<IdentityTables>;

/** Queries inside or outside of a transaction. */
export type Queries = Transaction<IdentityTables> | IdentityDatabase["db"];
