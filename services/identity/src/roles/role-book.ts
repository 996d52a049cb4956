import { isDeepStrictEqual } from "node:util";
import type { IdentityChanges } from "../identity-changes.ts";
import type { IdentityDatabase } from "../identity-tables.ts";

/** What roles permit, as it stands now; asked with each call, so it answers at once. */
export interface RoleBook {
  /** Every role there is now. */
  readonly definitions: readonly { readonly name: string; readonly permissions: readonly string[] }[];
  /** Calls back after each change. */
  follow(changed: () => void): void;
  /** The permissions of a role; undefined if there is none of that name. */
  permissionsOf(role: string): ReadonlySet<string> | undefined;
  /** Whether one of the roles permits this: by itself, by "resource:*", or by "*". */
  permits(roles: readonly string[], permission: string): boolean;
}

/** How soon a change is found of which nobody has told: who changed it died before saying so. */
const LOOK_AGAIN_MS = 5_000;

/**
 * A role book that follows the database: its own changes at once, other processes' within a second, and within 5 s if
 * word of them gets lost.
 */
export async function openRoleBook(
  database: IdentityDatabase,
  changes: IdentityChanges,
): Promise<RoleBook & Disposable & { reload(): Promise<void> }> {
  let roles = await readRoles(database);
  let wanted = 0;
  const followers: (() => void)[] = [];
  const reload = async () => {
    const turn = ++wanted;
    const read = await readRoles(database);
    if (turn !== wanted || isDeepStrictEqual(read, roles)) return;
    roles = read;
    for (const changed of followers) changed();
  };
  const following = changes.follow((change) => {
    // If this fails the next look reads them.
    if (change === "roles" || change === "everything") void reload().catch(() => {});
  });
  const again = setInterval(() => void reload().catch(() => {}), LOOK_AGAIN_MS).unref();
  return {
    get definitions() {
      return [...roles].map(([name, permissions]) => ({ name, permissions: [...permissions] }));
    },
    follow: (changed) => void followers.push(changed),
    permissionsOf: (role) => roles.get(role),
    permits: (names, permission) => names.some((name) => covers(roles.get(name), permission)),
    reload,
    [Symbol.dispose]() {
      clearInterval(again);
      following[Symbol.dispose]();
    },
  };
}

/** Whether a set of permissions holds one: by itself, by "resource:*", or by "*". */
function covers(permissions: ReadonlySet<string> | undefined, permission: string): boolean {
  if (permissions === undefined) return false;
  if (permissions.has(permission) || permissions.has("*")) return true;
  return permissions.has(`${permission.slice(0, permission.indexOf(":"))}:*`);
}

async function readRoles(database: IdentityDatabase): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const rows = await database.db.selectFrom("role").select(["name", "permissions"]).execute();
  return new Map(rows.map(({ name, permissions }) => [name, new Set(permissions)]));
}
