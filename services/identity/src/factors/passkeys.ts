import type { AuthenticationResponseJSON, RegistrationResponseJSON } from "@simplewebauthn/server";
import { sql } from "kysely";
import type { Queries } from "../identity-tables.ts";
import type { Ceremony } from "./ceremony-store.ts";

// Loaded when somebody first has a passkey: most starts of the platform never need it.
const library = () => import("@simplewebauthn/server");

/** EdDSA and ES256, 128 bits of strength. The RSA keys that some authenticators make have 2048 bits, which is 112. */
const ALGORITHMS = [-8, -7];

const keysOf = (queries: Queries, accountId: string) =>
  queries.selectFrom("passkey").selectAll().where("account_id", "=", accountId).orderBy("created_at").execute();

/** What a browser needs to make a passkey, as JSON of WebAuthn's PublicKeyCredentialCreationOptions. */
export async function passkeyCreation(
  queries: Queries,
  origin: string,
  { accountId, challenge, login }: Ceremony & { login: string },
): Promise<string> {
  const { generateRegistrationOptions } = await library();
  const known = await keysOf(queries, accountId);
  const options = await generateRegistrationOptions({
    rpName: "HMS-SYS",
    rpID: new URL(origin).hostname,
    userName: login,
    userID: new Uint8Array(Buffer.from(accountId)),
    challenge: new Uint8Array(Buffer.from(challenge, "base64url")),
    supportedAlgorithmIDs: ALGORITHMS,
    excludeCredentials: known.map(({ credential_id: id }) => ({ id })),
  });
  return JSON.stringify(options);
}

/** What a browser needs to show a passkey of an account; undefined if it has none. */
export async function passkeyRequest(
  queries: Queries,
  origin: string,
  { accountId, challenge }: Ceremony,
): Promise<string | undefined> {
  const known = await keysOf(queries, accountId);
  if (known.length === 0) return undefined;
  const { generateAuthenticationOptions } = await library();
  const options = await generateAuthenticationOptions({
    rpID: new URL(origin).hostname,
    challenge: new Uint8Array(Buffer.from(challenge, "base64url")),
    allowCredentials: known.map(({ credential_id: id }) => ({ id })),
  });
  return JSON.stringify(options);
}

function parsed<T>(text: string): T | undefined {
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}

/** Adds the passkey that a browser has made for a ceremony; false if it is not good, or is somebody's already. */
export async function addPasskey(
  queries: Queries,
  origin: string,
  { ceremony, shown, name }: { ceremony: Ceremony; shown: string; name: string },
): Promise<boolean> {
  const response = parsed<RegistrationResponseJSON>(shown);
  if (response === undefined) return false;
  const { verifyRegistrationResponse } = await library();
  const terms = {
    ...expected(origin, ceremony),
    response,
    supportedAlgorithmIDs: ALGORITHMS,
    requireUserVerification: false,
  };
  // It throws for whatever is wrong with what was shown.
  const { registrationInfo } = await verifyRegistrationResponse(terms).catch(() => ({ registrationInfo: undefined }));
  if (registrationInfo === undefined) return false;
  const { id, publicKey, counter, transports = [] } = registrationInfo.credential;
  const added = await queries
    .insertInto("passkey")
    .values({
      credential_id: id,
      account_id: ceremony.accountId,
      name: name.slice(0, 100),
      public_key: publicKey,
      counter: String(counter),
      transports: [...transports],
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning("credential_id")
    .executeTakeFirst();
  return added !== undefined;
}

/** Whether a browser has shown a passkey of the ceremony's account for its challenge. */
export async function usePasskey(
  queries: Queries,
  origin: string,
  { ceremony, shown }: { ceremony: Ceremony; shown: string },
): Promise<boolean> {
  const response = parsed<AuthenticationResponseJSON>(shown);
  const known = await keysOf(queries, ceremony.accountId);
  const key = known.find(({ credential_id }) => credential_id === response?.id);
  if (response === undefined || key === undefined) return false;
  const { verifyAuthenticationResponse } = await library();
  const credential = {
    id: key.credential_id,
    publicKey: new Uint8Array(key.public_key),
    counter: Number(key.counter),
  };
  const terms = { ...expected(origin, ceremony), response, credential, requireUserVerification: false };
  const done = await verifyAuthenticationResponse(terms).catch(() => undefined);
  if (done?.verified !== true) return false;
  const { newCounter } = done.authenticationInfo;
  await queries
    .updateTable("passkey")
    .set({ counter: String(newCounter), last_used_at: sql`clock_timestamp()` })
    .where("credential_id", "=", key.credential_id)
    .execute();
  return true;
}

const expected = (origin: string, { challenge }: Ceremony) => ({
  expectedChallenge: challenge,
  expectedOrigin: origin,
  expectedRPID: new URL(origin).hostname,
});
