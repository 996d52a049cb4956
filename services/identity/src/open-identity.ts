import type { MountHandler } from "@hms/http-edge";
import type { AuditSink, Principal, ServiceRegistration } from "@hms/kernel";
import type { SealingKey } from "@hms/secrets";
import type { ClientMetadata } from "oidc-provider";
import { createActingFor } from "./accounts/acting-for.ts";
import { createServiceAccountService } from "./accounts/service-account-service.ts";
import { openSetUp } from "./accounts/set-up.ts";
import { createUserService } from "./accounts/user-service.ts";
import { forgetEnded } from "./forget-ended.ts";
import { createGroupService } from "./groups/group-service.ts";
import { IdentityChanges } from "./identity-changes.ts";
import type { IdentityDatabase } from "./identity-tables.ts";
import { createKeyService } from "./keys/key-service.ts";
import { createPlatformKeyServices } from "./keys/platform-key-services.ts";
import { createSealingKeyService } from "./keys/sealing-key-service.ts";
import { createPostman } from "./mail/postman.ts";
import { createClientService } from "./oidc/client-service.ts";
import type { OidcGround } from "./oidc/oidc-ground.ts";
import { OidcProvider } from "./oidc/oidc-provider.ts";
import { createSigningKeyService } from "./oidc/signing-key-service.ts";
import { SigningKeys } from "./oidc/signing-keys.ts";
import { createProviderService } from "./outside/provider-service.ts";
import { isProgramsOwn, onlyAt } from "./pages/only-at.ts";
import { cookieOf, SESSION_COOKIE } from "./pages/request-cookies.ts";
import { SignInPages } from "./pages/sign-in-mount.ts";
import { createBreachCheck } from "./passwords/breach-check.ts";
import type { BreachedPasswords, Judge, Mailer, PlatformKeys } from "./ports.ts";
import { openRoleBook, type RoleBook } from "./roles/role-book.ts";
import { createRoleService } from "./roles/role-service.ts";
import { createSessionService } from "./sessions/session-service.ts";
import { useSession } from "./sessions/session-store.ts";
import { createSignInTrail } from "./sign-in-trail.ts";
import { createAccessTokens } from "./tokens/access-tokens.ts";
import { type AccountTokens, createAccountTokens } from "./tokens/account-tokens.ts";
import { currentPrincipal, principalNamed } from "./tokens/current-principal.ts";

/** What the identity service is opened with. */
export interface IdentityOptions {
  readonly database: IdentityDatabase;
  readonly sealing: SealingKey;
  /** Ids of keys by which something else of the installation is sealed, with what that is; default: nothing. */
  readonly sealedElsewhere?: () => ReadonlyMap<string, string>;
  /** Seals anew what lies outside of this database, and answers with how many secrets that were; default: nothing does. */
  readonly resealElsewhere?: readonly (() => Promise<number>)[];
  /** Where people reach the platform, without a slash at its end; its host is known to no service. */
  readonly origin: string;
  /** The installation's name; stands in keys. */
  readonly instance: string;
  /** Every permission that something asks for: what roles can hold, and tokens be limited to. */
  readonly permissions: () => Iterable<string>;
  /** What principals may do; asked with each call that touches what belongs to others. */
  readonly judge: (roles: RoleBook) => Judge;
  /** Applications that may ask people for access; default none. */
  readonly clients?: readonly ClientMetadata[];
  /** Hears of accounts that may do less than before, by id, so that tickets of theirs can be revoked. */
  readonly onAccountChange?: (accountId: string) => void;
  /** The set-up link of an earlier start, which stays the one while it is good. */
  readonly earlierSetUpLink?: string | undefined;
  /** Told when the first account was made, and the set-up link has ended. */
  readonly onSetUp?: () => void;
  /** Brings mail to people; default: nobody does, and links are shown to who makes them. */
  readonly mailer?: Mailer;
  /** Which passwords have leaked; default: none is known to, and only common ones are refused. */
  readonly breached?: BreachedPasswords;
  /** Keys outside of the database that can be replaced; default: none, and nobody is asked to. */
  readonly platformKeys?: PlatformKeys;
  /** Records who comes in, who leaves and who is refused. */
  readonly audit: AuditSink;
  /** Hears what failed in the background. */
  readonly onFailure: (error: unknown) => void;
}

/** The identity service. */
export interface IdentityService extends AsyncDisposable {
  readonly registrations: readonly ServiceRegistration[];
  readonly tokens: AccountTokens;
  /** False if changes of accounts have not been heard for 10 s: then nothing remembered can be relied on. */
  readonly isInTouch: boolean;
  readonly roles: RoleBook;
  /** The principal of an account as it is now, with its roles of now; undefined if it may not come in any more. */
  current(principal: Principal): Promise<Principal | undefined>;
  /** The principal of an account by its kind and its login or id; undefined if there is none that may come in. */
  named(kind: string, loginOrId: string): Promise<Principal | undefined>;
  /** Other people's protocols, by the path below which each is served; both have credentials of their own. */
  readonly mounts: readonly { readonly prefix: string; readonly handler: MountHandler }[];
  /** The link by which the first admin is made; undefined once anybody has an account. */
  readonly setUpLink: string | undefined;
}

/** Opens the identity service; the protocol library and password hashing are loaded when they are first needed. */
export async function openIdentityService(options: IdentityOptions): Promise<IdentityService> {
  await using stack = new AsyncDisposableStack();
  const { database, origin, instance, sealing, onAccountChange } = options;
  const changes = stack.use(await IdentityChanges.open(database));
  const roles = stack.use(await openRoleBook(database, changes));
  const judge = options.judge(roles);
  const mail = createPostman(database, options.mailer, options.onFailure);
  stack.defer(() => mail.settled());
  const breached = createBreachCheck(options.breached, options.onFailure);
  const onSetUp = () => options.onSetUp?.();
  const ground = {
    database,
    changes,
    roles,
    judge,
    permissions: options.permissions,
    mail,
    breached,
    origin,
    instance,
    onSetUp,
    actingFor: createActingFor(judge, roles),
  };
  const signingKeys = new SigningKeys({ database, sealing, changes });
  const oidcGround = oidcGroundOf(options, { changes, signingKeys, mail, breached });
  const provider = new OidcProvider(oidcGround);
  const accessTokens = createAccessTokens({ ...oidcGround, keySet: () => signingKeys.keySet() });
  if (onAccountChange) stack.use(changes.followAccounts(onAccountChange));
  stack.use(forgetEnded(database, options.onFailure));
  const setUpToken = await openSetUp(database, tokenOf(options.earlierSetUpLink));
  const pages = new SignInPages(oidcGround, provider, onSetUp);
  const tokens = stack.use(createAccountTokens({ database, changes, accessTokens }));
  const owned = stack.move();
  return {
    registrations: [
      createUserService(ground),
      createRoleService(ground),
      createGroupService(ground),
      createSessionService(ground),
      createKeyService(ground),
      createServiceAccountService(ground),
      createSigningKeyService(signingKeys),
      createSealingKeyService(options),
      ...(options.platformKeys ? createPlatformKeyServices(options.platformKeys) : []),
      createClientService(ground),
      createProviderService(ground, sealing),
    ],
    tokens,
    get isInTouch() {
      return changes.inTouch;
    },
    roles,
    current: (principal) => currentPrincipal(database, principal),
    named: (kind, loginOrId) => principalNamed(database, kind, loginOrId),
    mounts: [
      { prefix: "/oidc", handler: onlyAt(origin, provider.handler, isProgramsOwn) },
      { prefix: "/sign-in", handler: onlyAt(origin, pages.handler) },
    ],
    setUpLink: setUpToken === undefined ? undefined : `${origin}/sign-in/set-up?token=${setUpToken}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function oidcGroundOf(
  { database, sealing, origin, instance, clients = [], permissions, onFailure, audit }: IdentityOptions,
  own: Pick<OidcGround, "changes" | "signingKeys" | "mail" | "breached">,
): OidcGround {
  return {
    ...own,
    database,
    sealing,
    origin,
    instance,
    issuer: `${origin}/oidc`,
    audience: `urn:hms:${instance}`,
    clients,
    permissions,
    trail: createSignInTrail(audit),
    onFailure,
    liveSession: (headers) => useSession(database, cookieOf(headers, SESSION_COOKIE) ?? ""),
  };
}

const tokenOf = (link = "") => URL.parse(link)?.searchParams.get("token") ?? undefined;
