import { HmsError } from "@hms/kernel";
import type { SealingKey } from "@hms/secrets";
import type { Configuration } from "openid-client";
import { newSecret } from "../secret-digest.ts";
import { carefulFetch } from "./careful-fetch.ts";
import { type ProviderRow, secretOf } from "./provider-store.ts";

const PATIENCE_SECONDS = 10;

/** A sign-in at a provider that is older than any session lives here counts for none. */
const OLDEST_SIGN_IN_S = 12 * 3600;
const CLOCKS_DIFFER_S = 60;

// Loaded when somebody first comes in by an outside provider: most installations have none.
const library = () => import("openid-client");

/** Where this installation is called back by a provider; it has to be registered there. */
export const callbackOf = (origin: string, name: string) => `${origin}/sign-in/with/${name}/back`;

/** A discovery document is read again after this long. */
const KNOWN_FOR_MS = 10 * 60_000;

interface Known {
  readonly config: Promise<Configuration>;
  readonly of: string;
  readonly until: number;
}

/** Providers as they are known to a process; anybody may ask for the way to one, and each is asked once in ten minutes. */
export class KnownProviders {
  readonly #sealing: SealingKey;
  readonly #known = new Map<string, Known>();

  constructor(sealing: SealingKey) {
    this.#sealing = sealing;
  }

  /** What is known of a provider, as it is kept now. @throws HmsError as `discover`. */
  configOf(row: ProviderRow): Promise<Configuration> {
    const of = JSON.stringify([row.issuer, row.client_id, Buffer.from(row.sealed).toString("base64")]);
    const before = this.#known.get(row.name);
    if (before?.of === of && before.until > performance.now()) return before.config;
    const config = discover(this.#sealing, row);
    this.#known.set(row.name, { config, of, until: performance.now() + KNOWN_FOR_MS });
    config.catch(() => this.#known.delete(row.name));
    return config;
  }
}

/**
 * Reads a provider's discovery document.
 * @throws HmsError UNAVAILABLE if it cannot be had, or is not that of its issuer.
 */
export async function discover(sealing: SealingKey, row: ProviderRow): Promise<Configuration> {
  const { allowInsecureRequests, ClientSecretBasic, customFetch, discovery, enableNonRepudiationChecks, None } =
    await library();
  const secret = secretOf(sealing, row);
  const issuer = new URL(row.issuer);
  try {
    return await discovery(issuer, row.client_id, undefined, secret === "" ? None() : ClientSecretBasic(secret), {
      timeout: PATIENCE_SECONDS,
      [customFetch]: carefulFetch,
      // Without the latter the library believes what comes from the token endpoint, whoever has signed it.
      execute: [...(issuer.protocol === "http:" ? [allowInsecureRequests] : []), enableNonRepudiationChecks],
    });
  } catch (cause) {
    const message = `${row.display_name} (${row.issuer}) does not answer as a provider of OpenID Connect: ${(cause as Error).message}.`;
    throw new HmsError("UNAVAILABLE", message, { reason: "PROVIDER_UNAVAILABLE", cause });
  }
}

/** What must come back as it was sent. */
export interface Journey {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

/** Begins a way to a provider and back, to be told what `scope` covers: with PKCE, state and nonce, each of 256 random bits. */
export async function beginJourney(
  config: Configuration,
  redirectUri: string,
  scope: string,
): Promise<Journey & { address: string }> {
  const { buildAuthorizationUrl, calculatePKCECodeChallenge, randomPKCECodeVerifier } = await library();
  const journey = { state: newSecret(), nonce: newSecret(), verifier: randomPKCECodeVerifier() };
  const address = buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope,
    response_type: "code",
    state: journey.state,
    nonce: journey.nonce,
    code_challenge: await calculatePKCECodeChallenge(journey.verifier),
    code_challenge_method: "S256",
    // Whoever was let in there earlier shows once more who they are, where the provider knows of that.
    max_age: String(OLDEST_SIGN_IN_S),
  });
  return { ...journey, address: address.href };
}

/** What a provider says of somebody; for messages and mail, nobody is known by it. */
export interface OutsideProfile {
  /** In small letters; empty unless the provider says that it is verified. */
  readonly email: string;
  readonly name: string;
}

/** Who came back from a provider. */
export interface Returned {
  readonly issuer: string;
  readonly subject: string;
  /** Asks what the provider says of them, beyond its token where that says nothing of addresses. */
  profile(): Promise<OutsideProfile>;
}

function profileFrom({ email, email_verified: isVerified, name }: Record<string, unknown>): OutsideProfile {
  return {
    email: isVerified === true && typeof email === "string" ? email.toLowerCase() : "",
    name: typeof name === "string" ? name : "",
  };
}

/**
 * Who came back, by issuer and subject; undefined if it is not proven: whatever was wrong, with the answer, the code, or
 * the token and its signature.
 */
export async function endJourney(
  config: Configuration,
  { state, nonce, verifier }: Journey,
  back: URL,
): Promise<Returned | undefined> {
  const { authorizationCodeGrant, fetchUserInfo } = await library();
  const checks = { expectedState: state, expectedNonce: nonce, pkceCodeVerifier: verifier, idTokenExpected: true };
  const tokens = await authorizationCodeGrant(config, back, checks).catch(() => undefined);
  const claims = tokens?.claims();
  if (tokens === undefined || claims === undefined) return undefined;
  // Not all providers say when it was.
  const at = claims.auth_time;
  if (at !== undefined && !(at >= Date.now() / 1000 - OLDEST_SIGN_IN_S - CLOCKS_DIFFER_S)) return undefined;
  const { iss: issuer, sub: subject } = claims;
  const profile = async () => {
    const isTold = claims.email_verified !== undefined || config.serverMetadata().userinfo_endpoint === undefined;
    // Whatever is wrong there, of somebody else for one, nothing is known of them then.
    const said = isTold ? claims : await fetchUserInfo(config, tokens.access_token, subject).catch(() => ({}));
    return profileFrom(said);
  };
  return { issuer, subject, profile };
}
