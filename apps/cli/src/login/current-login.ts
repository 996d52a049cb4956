import type { InstancePaths } from "@hms/config";
import { refreshLogin } from "./device-login.ts";
import { underLockFile } from "./lock-file.ts";
import { type Login, readLogin, writeLogin } from "./login-file.ts";

/** A token that ends sooner than this is replaced before it is used. */
const MARGIN_MS = 30_000;

/**
 * The access token of who is signed in, fresh; undefined if nobody is. Of many commands that run at once one refreshes,
 * and the others use what it got.
 * @throws HmsError UNAUTHENTICATED if the login has ended.
 */
export async function currentToken(
  { login: file }: Pick<InstancePaths, "login">,
  signal: AbortSignal,
): Promise<string | undefined> {
  const login = readLogin(file);
  if (login === undefined || isFresh(login)) return login?.accessToken;
  return underLockFile(`${file}.lock`, async () => {
    const latest = readLogin(file);
    if (latest === undefined || isFresh(latest)) return latest?.accessToken;
    const next = await refreshLogin(latest, signal);
    writeLogin(file, next);
    return next.accessToken;
  });
}

const isFresh = ({ endsAtMs }: Login) => endsAtMs - Date.now() > MARGIN_MS;
