import { accountFacts } from "../accounts/account-store.ts";
import type { IdentityDatabase } from "../identity-tables.ts";
import type { Mailer } from "../ports.ts";
import { noticeMail } from "./mail-texts.ts";

/** Brings mail where nobody waits for it. */
export interface Postman extends Mailer {
  /** Does work that sends something, without anybody waiting; what fails is told to the installation. */
  inBackground(work: () => Promise<void>): void;
  /** Tells somebody at their proven address what was done to their account, "The password was changed". */
  tell(accountId: string, what: string): void;
  /** Resolves when all that was begun in the background is done. */
  settled(): Promise<void>;
}

/** Makes one; without a mailer nothing is sent. */
export function createPostman(
  { db }: IdentityDatabase,
  mailer: Mailer | undefined,
  onFailure: (error: unknown) => void,
): Postman {
  const running = new Set<Promise<void>>();
  const inBackground = (work: () => Promise<void>) => {
    const run: Promise<void> = work()
      .catch(onFailure)
      .finally(() => running.delete(run));
    running.add(run);
  };
  return {
    get isSetUp() {
      return mailer?.isSetUp ?? false;
    },
    send: async (mail) => mailer?.send(mail),
    inBackground,
    tell(accountId, what) {
      if (!mailer?.isSetUp) return;
      inBackground(async () => {
        const account = await accountFacts(db).where("account_id", "=", accountId).executeTakeFirst();
        if (account === undefined || account.email_verified_at === null) return;
        await mailer.send(noticeMail(account.email, account.login, what));
      });
    },
    settled: async () => void (await Promise.all(running)),
  };
}
