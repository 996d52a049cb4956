import type { SealingKey } from "@hms/secrets";
import { endSessions } from "../accounts/take-away.ts";
import type { Queries } from "../identity-tables.ts";
import type { BrowserSession } from "../sessions/session-store.ts";
import { type BegunCeremony, beginCeremony, type Ceremony } from "./ceremony-store.ts";
import { factorFacts, hasSecondFactor } from "./factor-facts.ts";
import { addPasskey } from "./passkeys.ts";
import { makeRecoveryCodes } from "./recovery-codes.ts";
import { newTotpSecret, stepOfCode } from "./totp.ts";
import { putTotp } from "./totp-store.ts";

const contextOf = (accountId: string) => ["identity", "new-totp", accountId];

/** Begins to set an authenticator app up: its secret is the account's once a code of it was shown. */
export function beginTotp(
  queries: Queries,
  sealing: SealingKey,
  { accountId, secret = newTotpSecret() }: { accountId: string; secret?: Buffer },
): Promise<BegunCeremony> {
  return beginCeremony(queries, "totp", { accountId, sealed: sealing.seal(secret, contextOf(accountId)) });
}

/** The secret of an app that is being set up. */
export function secretOf(sealing: SealingKey, { accountId, sealed }: Ceremony): Buffer {
  return sealing.open(Buffer.from(sealed ?? []), contextOf(accountId));
}

/** What a change of the second factors has brought: fresh recovery codes, if the account had none. */
export interface FactorChange {
  readonly codes: readonly string[] | undefined;
}

/** Makes an app the account's second factor if the code is its; undefined if it is not. */
export async function addTotp(
  queries: Queries,
  sealing: SealingKey,
  { ceremony, code, session }: { ceremony: Ceremony; code: string; session: BrowserSession },
): Promise<FactorChange | undefined> {
  const { accountId } = ceremony;
  const secret = secretOf(sealing, ceremony);
  const step = stepOfCode(secret, code.replace(/\s/g, ""), Date.now());
  if (step === undefined) return undefined;
  await putTotp(queries, sealing, { accountId, secret, step });
  return added(queries, session, "otp");
}

/** Makes a passkey the account's; undefined if it is not good. */
export async function addKey(
  queries: Queries,
  origin: string,
  { session, ...made }: { ceremony: Ceremony; shown: string; name: string; session: BrowserSession },
): Promise<FactorChange | undefined> {
  if (!(await addPasskey(queries, origin, made))) return undefined;
  return added(queries, session, "hwk");
}

/** Whoever is signed in elsewhere, with less, is not any more; this session has just shown the factor. */
async function added(queries: Queries, session: BrowserSession, method: string): Promise<FactorChange> {
  const { accountId, sessionId } = session;
  await endSessions(queries, accountId, { session: sessionId });
  const methods = [...new Set([...session.methods, method])];
  await queries.updateTable("session").set({ methods }).where("session_id", "=", sessionId).execute();
  const { codesLeft } = await factorFacts(queries, accountId);
  return { codes: codesLeft > 0 ? undefined : await makeRecoveryCodes(queries, accountId) };
}

/** Takes an app or a passkey away, and with the last factor the recovery codes; other sessions end. */
export async function removeFactor(
  queries: Queries,
  { accountId, sessionId }: BrowserSession,
  factor: "totp" | { readonly credentialId: string },
): Promise<true> {
  if (factor === "totp") await queries.deleteFrom("totp").where("account_id", "=", accountId).execute();
  else {
    const { credentialId } = factor;
    const passkeys = queries.deleteFrom("passkey").where("account_id", "=", accountId);
    await passkeys.where("credential_id", "=", credentialId).execute();
  }
  await endSessions(queries, accountId, { session: sessionId });
  if (hasSecondFactor(await factorFacts(queries, accountId))) return true;
  await queries.deleteFrom("recovery_code").where("account_id", "=", accountId).execute();
  return true;
}
