import { sql } from "kysely";
import type { IdentityDatabase } from "../identity-tables.ts";
import type { Browser } from "./browser.ts";
import type { Holds, KillableIdentity } from "./killable-identity.ts";
import { approvedDevice, consoleToken, deviceTokens, PASSWORD, signedIn, somebody } from "./people.ts";

/** Where operations are killed. */
export interface Stage {
  readonly database: IdentityDatabase;
  readonly holds: Holds;
}

/** Where, and on whom, an operation runs. */
export interface Place extends Stage {
  readonly at: KillableIdentity;
  /** Somebody of this operation's own. */
  readonly login: string;
}

/** An operation that is about to run. */
export interface Begun {
  run(): Promise<unknown>;
  /** Looks at what is left, in another process; whether the operation had been answered. */
  check(at: KillableIdentity, isAnswered: boolean): Promise<void>;
}

/** An operation that can be killed. */
export type Operation = (place: Place) => Promise<Begun>;

/** Whether somebody is signed in in a browser. */
export const isSignedIn = async (browser: Browser) =>
  (await browser.get("/sign-in")).body.includes("You are signed in as");

/** The same browser at another process. */
export function moved(at: KillableIdentity, { cookies }: Browser): Browser {
  const browser = at.browse();
  for (const [name, cookie] of cookies) browser.cookies.set(name, cookie);
  return browser;
}

/** Signs somebody in by the page. */
export async function signIn(at: KillableIdentity, login: string, password = PASSWORD): Promise<Browser> {
  const browser = at.browse();
  await browser.submit(await browser.get("/sign-in"), { login, password });
  return browser;
}

/** Somebody with a program that is signed in. */
export async function withProgram({ at, database, login }: Place) {
  const accountId = await somebody(database, login);
  const { browser } = await signedIn(database, at.browse(), accountId);
  const tokens = await deviceTokens(at, await approvedDevice(at, browser));
  return { accountId, browser, tokens };
}

/** Somebody with a browser session and a token of the console in it. */
export async function withConsole({ at, database, login }: Place) {
  const accountId = await somebody(database, login);
  const session = await signedIn(database, at.browse(), accountId);
  return { accountId, ...session, access: await consoleToken(at, session.browser) };
}

/** As if the ten seconds in which answers may get lost were over. */
export const later = ({ db }: IdentityDatabase, accountId: string) =>
  sql`update oidc_artifact set consumed_at = consumed_at - interval '1 hour' where account_id = ${accountId}`.execute(
    db,
  );
