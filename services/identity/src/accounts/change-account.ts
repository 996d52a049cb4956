import type { FieldMask } from "@bufbuild/protobuf/wkt";
import type { Principal } from "@hms/kernel";
import { invalid } from "../errors.ts";
import { noticeMail } from "../mail/mail-texts.ts";
import type { ServiceGround } from "../service-ground.ts";
import { type AccountFacts, accountOf } from "./account-store.ts";
import { checkedAddress, forgetProof } from "./mail-address.ts";
import { makePersonalLink } from "./personal-link.ts";
import { assertFresh } from "./step-up.ts";

type Changeable = "display_name" | "email" | "preferences";
type Fields = Partial<Record<Changeable, string>>;

/** What somebody wants changed, and which of it. */
export interface AccountChange {
  /** Who wants it. */
  readonly principal: Principal;
  readonly given: Fields;
  readonly mask: FieldMask | undefined;
}

/**
 * Changes an account and answers with it. A new mail address has to be proven: its owner is mailed a link, and the one
 * before is told.
 * @throws HmsError INVALID_ARGUMENT for a field that cannot be changed, or no mail address; PERMISSION_DENIED if people
 * change their own address by a key, or have not shown of late who they are: links for new passwords go there.
 */
export async function changeAccount(
  ground: ServiceGround,
  account: AccountFacts,
  { given, mask, principal }: AccountChange,
): Promise<AccountFacts> {
  const { database } = ground;
  const { account_id: accountId } = account;
  const fields = masked(given, mask);
  if (fields.email !== undefined) checkedAddress(fields.email);
  const isMoved = fields.email !== undefined && fields.email !== account.email;
  if (isMoved && accountId === principal.id) assertFresh(principal);
  await database.transaction(async (queries) => {
    if (Object.keys(fields).length === 0) return;
    await queries.updateTable("account").set(fields).where("account_id", "=", accountId).execute();
    if (isMoved) await forgetProof(queries, accountId);
  });
  const now = await accountOf(database.db, accountId);
  if (isMoved) tellOfMove(ground, account, now);
  return now;
}

function tellOfMove(ground: ServiceGround, before: AccountFacts, now: AccountFacts): void {
  const { mail } = ground;
  if (!mail.isSetUp) return;
  mail.inBackground(async () => {
    if (before.email_verified_at !== null) {
      await mail.send(noticeMail(before.email, before.login, "The mail address was changed"));
    }
    if (now.email !== "") await makePersonalLink(ground, now, { purpose: "verify" });
  });
}

/** The fields that a mask names; without one, those that are not empty. */
function masked(given: Fields, mask: FieldMask | undefined): Fields {
  const names = mask?.paths ?? Object.keys(given).filter((name) => given[name as Changeable] !== "");
  const wrong = names.filter((name) => !Object.hasOwn(given, name) || given[name as Changeable] === undefined);
  if (wrong.length > 0) {
    const possible = Object.keys(given).join(", ");
    throw invalid([
      { field: "update_mask", description: `cannot name ${wrong.join(", ")}; possible are ${possible}.` },
    ]);
  }
  return Object.fromEntries(names.map((name) => [name, given[name as Changeable] || emptyOf(name)]));
}

const emptyOf = (name: string) => (name === "preferences" ? "{}" : "");
