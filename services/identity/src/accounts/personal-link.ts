import { linkMail } from "../mail/mail-texts.ts";
import type { ServiceGround } from "../service-ground.ts";
import type { AccountFacts } from "./account-store.ts";
import { createLink } from "./link-store.ts";

/** What is mailed, or shown to who made it. */
export interface PersonalLink {
  /** Empty if it was mailed. */
  readonly link: string;
  /** Empty if it was not mailed. */
  readonly mailedTo: string;
  readonly expiresAt: Date;
}

/** Which links there are for a person, and the page that each leads to. */
const PAGES = { invitation: "password", reset: "password", verify: "verify" } as const;

/**
 * Makes a link for a person, good once, and mails it to them where mail is set up: an invitation to the address that was
 * given for them, a new password to an address only that is proven to be theirs. Otherwise, or if `print` is asked for,
 * it is shown to who made it.
 * @throws HmsError UNAVAILABLE if the mail server does not take it; then the link is worth nothing.
 */
export async function makePersonalLink(
  { database, mail, origin }: Pick<ServiceGround, "database" | "mail" | "origin">,
  account: AccountFacts,
  { purpose, print = false }: { purpose: keyof typeof PAGES; print?: boolean },
): Promise<PersonalLink> {
  const { account_id: accountId, email, email_verified_at: provenAt, login } = account;
  const mails = !print && mail.isSetUp && email !== "" && (purpose !== "reset" || provenAt !== null);
  const { token, expiresAt } = await database.transaction((queries) =>
    createLink(queries, purpose, { accountId, email: mails ? email : null }),
  );
  const link = `${origin}/sign-in/${PAGES[purpose]}?token=${token}`;
  if (!mails) return { link, mailedTo: "", expiresAt };
  await mail.send(linkMail(purpose, { to: email, login, link, expiresAt }));
  return { link: "", mailedTo: email, expiresAt };
}
