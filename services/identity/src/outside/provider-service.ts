import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { identityProviders } from "@hms/contracts";
import { HmsError, implement, type ServiceRegistration } from "@hms/kernel";
import type { SealingKey } from "@hms/secrets";
import { invalid } from "../errors.ts";
import { visibleByName } from "../named-things.ts";
import { isSafeAddress } from "../oidc/safe-address.ts";
import type { ServiceGround } from "../service-ground.ts";
import { callbackOf, discover } from "./outside-client.ts";
import { findProvider, listProviders, type ProviderRow, putProvider, secretOf, signUpTerms } from "./provider-store.ts";
import { readSignUp } from "./sign-up-terms.ts";

/** Outside providers, by hms.identity.v1.IdentityProviderService. */
export function createProviderService(ground: ServiceGround, sealing: SealingKey): ServiceRegistration {
  const { database, origin } = ground;
  const message = async (row: ProviderRow) => {
    const terms = await signUpTerms(database.db, row);
    return create(identityProviders.IdentityProviderSchema, {
      name: row.name,
      displayName: row.display_name,
      issuer: row.issuer,
      clientId: row.client_id,
      redirectUri: callbackOf(origin, row.name),
      createdAt: timestampFromDate(row.created_at),
      ...(terms && {
        signUp: { emailDomains: [...terms.domains], roles: [...terms.roles], groups: [...terms.groups] },
      }),
    });
  };
  return implement(identityProviders.IdentityProviderService, {
    async putIdentityProvider({ name, displayName, issuer, clientId, clientSecret, signUp: asked }, { principal }) {
      if (!isSafeAddress(issuer)) {
        throw invalid([{ field: "issuer", description: "must be an https address, or http on this machine." }]);
      }
      const row = await database.transaction(async (queries) => {
        const signUp = asked && (await readSignUp(ground, queries, { asked, principal }));
        const before = await findProvider(queries, name);
        // A secret goes only where it was given for.
        const kept = before?.issuer === issuer ? secretOf(sealing, before) : "";
        const given = { name, displayName: displayName || name, issuer, clientId, signUp };
        const put = await putProvider(queries, sealing, { ...given, clientSecret: clientSecret || kept });
        // What does not answer is not kept.
        await discover(sealing, put);
        return put;
      });
      return { provider: await message(row) };
    },
    async listIdentityProviders(_, context) {
      const { allows } = visibleByName(context, "name");
      const visible = (await listProviders(database.db)).filter(allows);
      return { providers: await Promise.all(visible.map(message)) };
    },
    async deleteIdentityProvider({ name }) {
      const query = database.db.deleteFrom("identity_provider").where("name", "=", name).returning("name");
      if ((await query.executeTakeFirst()) === undefined) {
        const text = `There is no provider "${name.slice(0, 80)}". Look at: hms-sys identity-providers list`;
        throw new HmsError("NOT_FOUND", text, { reason: "PROVIDER_UNKNOWN" });
      }
      return {};
    },
  });
}
