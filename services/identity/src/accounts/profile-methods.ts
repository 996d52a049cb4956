import type { identityUsers } from "@hms/contracts";
import type { ServiceImplementation } from "@hms/kernel";
import { invalid, noMail } from "../errors.ts";
import type { ServiceGround } from "../service-ground.ts";
import { userMessage } from "./account-message.ts";
import { changeAccount } from "./change-account.ts";
import { changePassword, grantOf } from "./change-password.ts";
import { makePersonalLink } from "./personal-link.ts";
import { assertFresh, assertInPerson } from "./step-up.ts";

const MOST_PREFERENCES_BYTES = 16 * 1024;
/** Where attempts by the contract come from: guesses are counted by account. */
const LOCAL = "127.0.0.1";

/** What people do with their own account, of hms.identity.v1.UserService. */
export function profileMethods(ground: ServiceGround) {
  const { database, actingFor } = ground;
  return {
    async sendEmailVerification(_, { principal }) {
      const account = await actingFor.self(database.db, principal);
      if (!ground.mail.isSetUp || account.email === "") throw noMail(account.email);
      const { mailedTo } = await makePersonalLink(ground, account, { purpose: "verify" });
      return { mailedTo };
    },
    async changePassword({ currentPassword, newPassword }, { principal }) {
      const account = await actingFor.self(database.db, principal);
      assertInPerson(principal);
      // Without a second factor the password that is shown now is all that somebody has to show.
      if (account.second_factors.length > 0) assertFresh(principal);
      const given = { current: currentPassword, password: newPassword, address: LOCAL };
      const keep = { grant: grantOf(principal) };
      await changePassword(ground, account, { ...given, keep });
      return {};
    },
    async updateProfile({ displayName, email, preferences, updateMask }, { principal }) {
      const account = await actingFor.self(database.db, principal);
      const text = JSON.stringify(preferences ?? {});
      if (Buffer.byteLength(text) > MOST_PREFERENCES_BYTES) {
        throw invalid([{ field: "preferences", description: "must be at most 16 KiB of JSON." }]);
      }
      const given = { display_name: displayName, email, preferences: preferences === undefined ? "" : text };
      return { user: userMessage(await changeAccount(ground, account, { given, mask: updateMask, principal })) };
    },
  } satisfies Partial<ServiceImplementation<typeof identityUsers.UserService>>;
}
