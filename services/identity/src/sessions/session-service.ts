import { create } from "@bufbuild/protobuf";
import { timestampFromDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { identitySessions } from "@hms/contracts";
import { implement, type Principal, principalName, type ServiceRegistration } from "@hms/kernel";
import { findAccount } from "../accounts/account-store.ts";
import { endSessions } from "../accounts/take-away.ts";
import { gone, noProgram } from "../errors.ts";
import { visibleByName } from "../named-things.ts";
import type { ServiceGround } from "../service-ground.ts";
import { isUuid } from "../uuid.ts";
import { listSessions } from "./list-sessions.ts";
import { endProgram, narrowProgram } from "./program-store.ts";
import { endSession } from "./session-store.ts";

/** Who the caller is and where accounts are signed in, by hms.identity.v1.SessionService. */
export function createSessionService(ground: ServiceGround): ServiceRegistration {
  const { database, changes, actingFor, judge, roles: book } = ground;
  return implement(identitySessions.SessionService, {
    async whoAmI(_, { principal }) {
      const { roles = [], scopes = [], mfa = false, endsAtMs } = principal;
      const account = isUuid(principal.id) ? await findAccount(database.db, principal.id) : undefined;
      const permissions = new Set(roles.flatMap((role) => [...(book.permissionsOf(role) ?? [])]));
      return create(identitySessions.WhoAmIResponseSchema, {
        principal: principalName(principal),
        login: account?.login ?? "",
        displayName: account?.display_name ?? "",
        roles: [...roles],
        permissions: judge.may(principal, "*") ? ["*"] : [...permissions].sort(),
        scopes: [...scopes],
        mfa,
        ...(endsAtMs === undefined ? {} : { expiresAt: timestampFromMs(endsAtMs) }),
      });
    },
    async listSessions({ user }, context) {
      const { allows } = visibleByName(context, "sessionId");
      const account = await actingFor.target(database.db, context, { name: user, permission: "sessions:read" });
      const found = await listSessions(database.db, account.account_id);
      return {
        sessions: found.filter(allows).map(({ createdAt, lastSeenAt, expiresAt, scopes, ...session }) => ({
          ...session,
          scopes: [...scopes],
          createdAt: timestampFromDate(createdAt),
          lastSeenAt: timestampFromDate(lastSeenAt),
          ...(expiresAt === null ? {} : { expiresAt: timestampFromDate(expiresAt) }),
        })),
      };
    },
    async revokeSession({ sessionId }, { principal }) {
      const owner = await ownerFor(ground, principal, sessionId);
      await database.transaction(async (queries) => {
        if (!(await endSession(queries, sessionId))) await endProgram(queries, sessionId);
      });
      await changes.tell({ account: owner });
      return {};
    },
    async narrowSession({ sessionId, scopes }, { principal }) {
      const owner = await ownerFor(ground, principal, sessionId);
      const left = await database.transaction((queries) => narrowProgram(queries, sessionId, scopes));
      if (left === undefined) throw noProgram(sessionId);
      await changes.tell({ account: owner });
      return { scopes: left };
    },
    async revokeAllSessions({ user }, context) {
      const account = await actingFor.target(database.db, context, { name: user, permission: "sessions:revoke" });
      const revoked = await database.transaction((queries) => endSessions(queries, account.account_id));
      await changes.tell({ account: account.account_id });
      return { revoked };
    },
  });
}

/** Whose session it is. @throws HmsError NOT_FOUND if it is neither the caller's nor one that they may end. */
async function ownerFor({ database, judge }: ServiceGround, principal: Principal, sessionId: string): Promise<string> {
  const [session] = await listSessions(database.db, undefined, sessionId);
  const owner = session?.accountId;
  const isOwn = owner === principal.id;
  if (owner === undefined || (!isOwn && !judge.may(principal, "sessions:revoke"))) throw gone("session", sessionId);
  return owner;
}
