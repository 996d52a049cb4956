import { accountFacts } from "../accounts/account-store.ts";
import { accountUnknown } from "../errors.ts";
import type { OidcGround } from "../oidc/oidc-ground.ts";
import { beginAttempt, endAttempt } from "../passwords/attempt-throttle.ts";
import { verifyNobody } from "../passwords/hash-password.ts";
import { recognise } from "../passwords/password-store.ts";
import { type BrowserSession, endSession, openSession, useSession } from "../sessions/session-store.ts";
import { cookieOf, SESSION_COOKIE, setCookie } from "./request-cookies.ts";
import type { Visit } from "./sign-in-visit.ts";

/** One text for everything, so that nobody learns which logins exist or are held up. */
export const NOT_RECOGNISED =
  "Login and password do not belong together, or there were too many attempts of late. Look at both, and wait a minute before the next one.";

/** Checks the login and password of a form; undefined if they are wrong or there were too many attempts of late. */
export async function recogniseVisitor(
  { database, trail }: OidcGround,
  { form, address, requestId }: Visit,
): Promise<string | undefined> {
  trail.assertAccepts();
  const login = (form.get("login") ?? "").toLowerCase().slice(0, 100);
  const password = form.get("password") ?? "";
  const attempt = { subject: login, address };
  if (!(await beginAttempt(database, attempt))) {
    await verifyNobody(password);
    return undefined;
  }
  const found = await recognise(database, login, password);
  if (found === undefined) {
    trail.record({ deed: "SignIn", resource: login, refused: "login and password do not belong together", requestId });
    return undefined;
  }
  await endAttempt(database, attempt);
  return found.accountId;
}

/** Opens a browser session under a new id; the one that the browser had before ends. */
export async function letIn(
  { database, changes, trail }: OidcGround,
  visit: Visit,
  { accountId, methods }: { accountId: string; methods: readonly string[] },
): Promise<BrowserSession> {
  const before = await visitorSession(database, visit);
  const { token, session } = await database.transaction(async (queries) => {
    if (before !== undefined) await endSession(queries, before.sessionId);
    // Locks the account: whoever deactivates it meanwhile ends this session too.
    const { active } = await queries
      .updateTable("account")
      .set({ last_sign_in_at: new Date() })
      .where("account_id", "=", accountId)
      .returning("active")
      .executeTakeFirstOrThrow();
    if (!active) throw accountUnknown(accountId);
    return openSession(queries, accountId, { address: visit.address, userAgent: visit.userAgent, methods });
  });
  setCookie(visit.response, SESSION_COOKIE, token);
  trail.record({ deed: "SignIn", accountId, resource: session.sessionId, requestId: visit.requestId });
  if (before !== undefined) await changes.tell({ account: before.accountId });
  return session;
}

/** Ends the browser session of a visit. */
export async function signOut({ database, changes, trail }: OidcGround, visit: Visit): Promise<void> {
  const session = await visitorSession(database, visit);
  setCookie(visit.response, SESSION_COOKIE, undefined);
  if (session === undefined) return;
  await database.transaction((queries) => endSession(queries, session.sessionId));
  await changes.tell({ account: session.accountId });
  const { accountId, sessionId: resource } = session;
  trail.record({ deed: "SignOut", accountId, resource, requestId: visit.requestId });
}

const visitorSession = (database: OidcGround["database"], { request }: Visit) =>
  useSession(database, cookieOf(request.headers, SESSION_COOKIE) ?? "");

/** The login of an account. */
export async function loginOf({ database }: OidcGround, accountId: string): Promise<string> {
  return (await accountFacts(database.db).where("account_id", "=", accountId).executeTakeFirstOrThrow()).login;
}
