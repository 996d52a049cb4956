import { randomBytes } from "node:crypto";
import { createAccount } from "../accounts/create-account.ts";
import { checkedAddress } from "../accounts/mail-address.ts";
import type { IdentityDatabase, Queries } from "../identity-tables.ts";
import type { OutsideProfile } from "./outside-client.ts";
import { link, type OutsideIdentity, ownerOf } from "./outside-visit-store.ts";
import { type ProviderRow, type SignUpTerms, signUpTerms } from "./provider-store.ts";
import { permitsAll } from "./sign-up-terms.ts";

/** Somebody who has come in by a provider and has no account here. */
export interface Newcomer {
  readonly who: OutsideIdentity;
  readonly provider: ProviderRow;
  profile(): Promise<OutsideProfile>;
}

/** How it came out: an account of theirs, or why there is none, for people. */
export type SignedUp =
  | { readonly accountId: string }
  | { readonly refused: string }
  /** The provider makes no accounts. */
  | undefined;

const LOGIN = /^[a-z0-9][a-z0-9._@+-]{0,99}$/;
const LONGEST_NAME = 200;

/**
 * Makes an account for who comes in by a provider for the first time, if the provider's settings say so: linked by issuer
 * and subject alone. Whoever has, or had, an account with this link or this mail address gets none.
 */
export async function signUp(database: IdentityDatabase, { who, provider, profile }: Newcomer): Promise<SignedUp> {
  const terms = await signUpTerms(database.db, provider);
  if (terms === undefined) return undefined;
  const said = await profile();
  const email = addressIn(said);
  if (!isAdmitted(email, terms)) {
    return { refused: "You have no account here, and your mail address there is none of those that get one." };
  }
  // One after the other: of two that come for the same person, or the same address, one makes the account.
  return database.withAdvisoryLock("sign-up", () =>
    database.transaction(async (queries) => {
      const owner = await ownerOf(queries, who);
      if (owner?.active) return { accountId: owner.account_id };
      if (owner !== undefined) return { refused: "Your account here is closed." };
      if (!(await hasPeople(queries)))
        return { refused: "Nobody has an account here yet; make the first one by the set-up link." };
      if (await isTaken(queries, email)) {
        const why = `An account here has your mail address already. Sign in to it, and link ${provider.display_name} under "How you come in".`;
        return { refused: why };
      }
      if (await givesEverything(queries, terms)) {
        return { refused: "New accounts would be given too much. Tell who runs this installation." };
      }
      return { accountId: await make(queries, { who, provider, terms, email, name: said.name }) };
    }),
  );
}

/** A verified address, if it is one and nothing else. */
function addressIn({ email }: OutsideProfile): string {
  try {
    return checkedAddress(email);
  } catch {
    return "";
  }
}

function isAdmitted(email: string, { domains }: SignUpTerms): boolean {
  return domains.includes("*") || (email !== "" && domains.includes(email.slice(email.lastIndexOf("@") + 1)));
}

async function hasPeople(queries: Queries): Promise<boolean> {
  const query = queries.selectFrom("account").select("account_id").where("kind", "=", "user").limit(1);
  return (await query.executeTakeFirst()) !== undefined;
}

async function isTaken(queries: Queries, email: string): Promise<boolean> {
  if (email === "") return false;
  const query = queries
    .selectFrom("account")
    .select("account_id")
    .where(({ or, eb, fn }) => or([eb(fn<string>("lower", ["email"]), "=", email), eb("login", "=", email)]));
  return (await query.executeTakeFirst()) !== undefined;
}

/** Whether a role has come to permit everything since the provider was set up, or a group to have such a one. */
async function givesEverything(queries: Queries, { roles, groups }: SignUpTerms): Promise<boolean> {
  const ofGroups = queries
    .selectFrom("group_role")
    .select("role")
    .where("group_name", "in", ["", ...groups]);
  const found = await queries
    .selectFrom("role")
    .select("permissions")
    .where(({ or, eb }) => or([eb("name", "in", ["", ...roles]), eb("name", "in", ofGroups)]))
    .execute();
  return found.some(({ permissions }) => permitsAll(permissions));
}

interface Made extends Pick<Newcomer, "who" | "provider"> {
  readonly terms: SignUpTerms;
  readonly email: string;
  readonly name: string;
}

async function make(queries: Queries, { who, provider, terms, email, name }: Made): Promise<string> {
  const login = LOGIN.test(email) ? email : `${provider.name}-${randomBytes(6).toString("hex")}`;
  const displayName = name.replace(/\p{Cc}/gu, " ").slice(0, LONGEST_NAME) || login;
  const createdBy = `provider:${provider.name}`;
  const account = { kind: "user", login, displayName, email, roles: terms.roles, createdBy } as const;
  const accountId = await createAccount(queries, account);
  const members = terms.groups.map((group_name) => ({ group_name, account_id: accountId }));
  if (members.length > 0) await queries.insertInto("group_member").values(members).execute();
  await link(queries, accountId, who);
  return accountId;
}
