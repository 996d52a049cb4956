import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel/errors";
import type { Login } from "./login-file.ts";
import { type OAuthAnswer, postForm } from "./post-form.ts";

const CLIENT = "hms-cli";
const SCOPE = "openid offline_access hms";
const DEVICE = "urn:ietf:params:oauth:grant-type:device_code";

/** What a person has to do to let the command line in. */
export interface DeviceRequest {
  readonly userCode: string;
  readonly address: string;
}

/**
 * Signs a person in by the device flow (RFC 8628): shows where to go, then asks until it is done.
 * @throws HmsError PERMISSION_DENIED if they do not allow it, DEADLINE_EXCEEDED if the code ends.
 */
export async function deviceLogin(
  issuer: string,
  show: (request: DeviceRequest) => void,
  signal: AbortSignal,
): Promise<Login> {
  const started = await postForm(new URL(`${issuer}/device/auth`), { client_id: CLIENT, scope: SCOPE }, signal);
  if (started.error !== undefined) throw refused(started);
  show({ userCode: String(started.user_code), address: String(started.verification_uri) });
  let pauseMs = Number(started.interval ?? 5) * 1000;
  const form = { client_id: CLIENT, grant_type: DEVICE, device_code: String(started.device_code) };
  for (;;) {
    await delay(pauseMs, undefined, { signal });
    const answer = await postForm(new URL(`${issuer}/token`), form, signal);
    if (answer.error === undefined) return loginOf(issuer, answer);
    if (answer.error === "slow_down") pauseMs += 5000;
    else if (answer.error !== "authorization_pending") throw refused(answer);
  }
}

/** Gets new tokens for a login. @throws HmsError UNAUTHENTICATED if it has ended. */
export async function refreshLogin({ issuer, refreshToken }: Login, signal: AbortSignal): Promise<Login> {
  const form = { client_id: CLIENT, grant_type: "refresh_token", refresh_token: refreshToken };
  const answer = await postForm(new URL(`${issuer}/token`), form, signal);
  if (answer.error === undefined) return loginOf(issuer, answer);
  throw new HmsError("UNAUTHENTICATED", "Your login has ended. Sign in again: hms-sys login", {
    reason: "LOGIN_ENDED",
  });
}

/** Ends a login at the platform. */
export async function revokeLogin({ issuer, refreshToken }: Login, signal: AbortSignal): Promise<void> {
  await postForm(new URL(`${issuer}/token/revocation`), { client_id: CLIENT, token: refreshToken }, signal);
}

function loginOf(issuer: string, answer: OAuthAnswer): Login {
  return {
    issuer,
    accessToken: String(answer.access_token),
    refreshToken: String(answer.refresh_token),
    endsAtMs: Date.now() + Number(answer.expires_in ?? 0) * 1000,
  };
}

function refused({ error = "", error_description: why }: OAuthAnswer): HmsError {
  if (error === "access_denied") return new HmsError("PERMISSION_DENIED", "You did not let the command line in.");
  if (error === "expired_token" || error === "invalid_grant") {
    return new HmsError("DEADLINE_EXCEEDED", "The code has ended. Begin again: hms-sys login");
  }
  return new HmsError("FAILED_PRECONDITION", `The platform refused the sign-in: ${String(why ?? error)}.`);
}
