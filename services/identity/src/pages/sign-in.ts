import { accountFacts } from "../accounts/account-store.ts";
import { accountUnknown, codeGone, passwordGone } from "../errors.ts";
import { type BegunCeremony, beginCeremony, endCeremony } from "../factors/ceremony-store.ts";
import { factorFacts, hasSecondFactor } from "../factors/factor-facts.ts";
import { useRecoveryCode } from "../factors/recovery-codes.ts";
import { useSecondFactor } from "../factors/second-factor.ts";
import type { OidcGround } from "../oidc/oidc-ground.ts";
import { beginAttempt, endAttempt } from "../passwords/attempt-throttle.ts";
import { verifyNobody } from "../passwords/hash-password.ts";
import { isStillPassword, recognise } from "../passwords/password-store.ts";
import { type BrowserSession, endSession, openSession, renewSession, useSession } from "../sessions/session-store.ts";
import { cookieOf, SESSION_COOKIE, setCookie } from "./request-cookies.ts";
import type { Visit } from "./sign-in-visit.ts";

/** One text for everything, so that nobody learns which logins exist or are held up. */
const NOT_RECOGNISED =
  "Login and password do not belong together, or there were too many attempts of late. Look at both, and wait a minute before the next one.";
const NOT_IN_TIME = "This took too long, or was done already. Begin again.";
const NOT_THE_FACTOR =
  "That is no code or passkey of yours, it has been used, or there were too many attempts of late. A code is good while the app shows it: wait for the next one; after some attempts, a few minutes.";

/** Somebody has shown who they are, by these methods. */
export interface Recognised {
  readonly kind: "known";
  readonly accountId: string;
  readonly methods: readonly string[];
  /** The password that was right, if that was all that was asked for. */
  readonly hash?: string;
  /** The recovery code that was shown, which is used up by the sign-in. */
  readonly recoveryCode?: string;
}

/** Where a sign-in stands after what was sent: all is shown, the second factor is missing, or it is refused. */
export type SignInStep =
  | Recognised
  | { readonly kind: "half"; readonly ceremony: BegunCeremony; readonly problems: readonly string[] }
  | { readonly kind: "refused"; readonly problems: readonly string[] };

/** Looks at what a form has brought: login and password, or the second factor of a sign-in that was begun with them. */
export function signInStep(ground: OidcGround, visit: Visit): Promise<SignInStep> {
  ground.trail.assertAccepts();
  return visit.form.has("ceremony") ? secondStep(ground, visit) : firstStep(ground, visit);
}

async function firstStep({ database, trail }: OidcGround, visit: Visit): Promise<SignInStep> {
  const { form, address } = visit;
  const login = (form.get("login") ?? "").toLowerCase().slice(0, 100);
  const password = form.get("password") ?? "";
  const attempt = { subject: login, address };
  if (!(await beginAttempt(database, attempt))) {
    await verifyNobody(password);
    trail.record({ deed: "LockOut", resource: login, refused: "too many attempts of late", source: visit });
    return { kind: "refused", problems: [NOT_RECOGNISED] };
  }
  const found = await recognise(database, login, password);
  if (found === undefined) {
    trail.record({
      deed: "SignIn",
      resource: login,
      refused: "login and password do not belong together",
      source: visit,
    });
    return { kind: "refused", problems: [NOT_RECOGNISED] };
  }
  await endAttempt(database, attempt);
  const { accountId, hash } = found;
  if (!hasSecondFactor(await factorFacts(database.db, accountId))) {
    return { kind: "known", accountId, hash, methods: ["pwd"] };
  }
  return { kind: "half", ceremony: await beginCeremony(database.db, "sign-in", { accountId }), problems: [] };
}

async function secondStep(ground: OidcGround, visit: Visit): Promise<SignInStep> {
  const { form, address } = visit;
  const { database, trail } = ground;
  const ceremony = await endCeremony(database.db, "sign-in", form.get("ceremony") ?? "");
  if (ceremony === undefined) return { kind: "refused", problems: [NOT_IN_TIME] };
  const { accountId, firstMethod } = ceremony;
  const attempt = { subject: `second factor of ${accountId}`, address, isGuessable: true };
  const shown = { code: form.get("code") ?? "", passkey: form.get("passkey") ?? "" };
  const isFree = await beginAttempt(database, attempt);
  const method = isFree ? await useSecondFactor(ground, ceremony, shown) : undefined;
  if (method !== undefined) {
    await endAttempt(database, attempt);
    const spent = method === "recovery" ? { recoveryCode: shown.code } : {};
    return { kind: "known", accountId, methods: [firstMethod, method], ...spent };
  }
  const [deed, refused] = isFree
    ? (["SecondFactor", "wrong second factor"] as const)
    : (["LockOut", "too many attempts at the second factor"] as const);
  trail.record({ deed, accountId, resource: accountId, methods: [firstMethod], refused, source: visit });
  const again = await beginCeremony(database.db, "sign-in", { accountId, firstMethod });
  return { kind: "half", ceremony: again, problems: [NOT_THE_FACTOR] };
}

/**
 * Lets somebody in who has shown who they are. A session that the browser has of the same account goes on under a new
 * token; another's ends.
 * @throws HmsError NOT_FOUND if meanwhile the account was closed, its password changed, or its recovery code used.
 */
export async function letIn(
  { database, changes, trail }: OidcGround,
  visit: Visit,
  { accountId, methods, hash, recoveryCode }: Omit<Recognised, "kind">,
): Promise<BrowserSession> {
  const before = await visitorSession(database, visit);
  const { token, session } = await database.transaction(async (queries) => {
    // Locks the account: whoever deactivates it meanwhile ends this session too.
    const { active } = await queries
      .updateTable("account")
      .set({ last_sign_in_at: new Date() })
      .where("account_id", "=", accountId)
      .returning("active")
      .executeTakeFirstOrThrow();
    if (!active) throw accountUnknown(accountId);
    // Somebody has changed it between its check and now, and ended all sessions.
    if (hash !== undefined && !(await isStillPassword(queries, { accountId, hash }))) throw passwordGone();
    if (recoveryCode !== undefined && !(await useRecoveryCode(queries, accountId, recoveryCode))) throw codeGone();
    const renewed =
      before?.accountId === accountId ? await renewSession(queries, before.sessionId, methods) : undefined;
    if (renewed !== undefined) return renewed;
    if (before !== undefined) await endSession(queries, before.sessionId);
    return openSession(queries, accountId, { address: visit.address, userAgent: visit.userAgent, methods });
  });
  setCookie(visit.response, SESSION_COOKIE, token);
  trail.record({ deed: "SignIn", accountId, resource: session.sessionId, methods, source: visit });
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
  trail.record({ deed: "SignOut", accountId, resource, source: visit });
}

const visitorSession = (database: OidcGround["database"], { request }: Visit) =>
  useSession(database, cookieOf(request.headers, SESSION_COOKIE) ?? "");

/** The login of an account. */
export async function loginOf({ database }: OidcGround, accountId: string): Promise<string> {
  return (await accountFacts(database.db).where("account_id", "=", accountId).executeTakeFirstOrThrow()).login;
}
