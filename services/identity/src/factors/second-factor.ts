import type { OidcGround } from "../oidc/oidc-ground.ts";
import type { Ceremony } from "./ceremony-store.ts";
import { usePasskey } from "./passkeys.ts";
import { hasRecoveryCode } from "./recovery-codes.ts";
import { useTotp } from "./totp-store.ts";

/** How a second factor was shown: by an app's code, a passkey (both as RFC 8176 names them), or a recovery code. */
export type SecondMethod = "otp" | "hwk" | "recovery";

/** What a form has brought. */
export interface ShownFactor {
  /** What an app shows, or a recovery code; empty for a passkey. */
  readonly code: string;
  /** What the browser answered of a passkey; empty for a code. */
  readonly passkey: string;
}

/**
 * Uses what was shown up, if it is a second factor of the ceremony's account; undefined if it is none. A recovery code is
 * only looked at: it is used up together with the sign-in that it is good for (`letIn`).
 */
export async function useSecondFactor(
  { database: { db }, sealing, origin }: Pick<OidcGround, "database" | "sealing" | "origin">,
  ceremony: Ceremony,
  { code, passkey }: ShownFactor,
): Promise<SecondMethod | undefined> {
  const { accountId } = ceremony;
  if (passkey !== "") return (await usePasskey(db, origin, { ceremony, shown: passkey })) ? "hwk" : undefined;
  const digits = code.replace(/\s/g, "");
  if (/^\d{6}$/.test(digits)) return (await useTotp(db, sealing, { accountId, code: digits })) ? "otp" : undefined;
  return (await hasRecoveryCode(db, accountId, code)) ? "recovery" : undefined;
}
