import type { IncomingHttpHeaders } from "node:http";
import type { SealingKey } from "@hms/secrets";
import type { ClientMetadata } from "oidc-provider";
import type { IdentityChanges } from "../identity-changes.ts";
import type { IdentityDatabase } from "../identity-tables.ts";
import type { Postman } from "../mail/postman.ts";
import type { BreachedPasswords } from "../ports.ts";
import type { BrowserSession } from "../sessions/session-store.ts";
import type { SignInTrail } from "../sign-in-trail.ts";
import type { SigningKeys } from "./signing-keys.ts";

/** What the protocol and its pages stand on. */
export interface OidcGround {
  readonly database: IdentityDatabase;
  readonly changes: IdentityChanges;
  readonly sealing: SealingKey;
  readonly trail: SignInTrail;
  readonly mail: Postman;
  /** Which passwords have leaked. */
  readonly breached: BreachedPasswords;
  readonly signingKeys: SigningKeys;
  /** Where people reach the platform; its host is known to no service. */
  readonly origin: string;
  /** The installation's name. */
  readonly instance: string;
  readonly issuer: string;
  /** Whose access tokens are, and what for: services see them, so it is no address. */
  readonly audience: string;
  /** Applications that may ask people for access, beside the platform's own programs. */
  readonly clients: readonly ClientMetadata[];
  /** Permissions that tokens can be limited to, beside "everything". */
  readonly permissions: () => Iterable<string>;
  /** Hears what failed inside the protocol. */
  onFailure(error: unknown): void;
  /** The browser session of a request's cookie. */
  liveSession(headers: IncomingHttpHeaders): Promise<LiveSession | undefined>;
}

/** A browser session that goes on. */
export type LiveSession = BrowserSession;
