import type { Principal } from "@hms/kernel";
import { IdentityChanges } from "./identity-changes.ts";
import type { IdentityDatabase } from "./identity-tables.ts";
import { openRoleBook, type RoleBook } from "./roles/role-book.ts";
import { currentPrincipal, principalNamed } from "./tokens/current-principal.ts";

/** What a process without the identity service knows of accounts: what roles permit, and who may still come in. */
export interface AccountBook extends AsyncDisposable {
  readonly roles: RoleBook;
  /** As the identity service's. */
  current(principal: Principal): Promise<Principal | undefined>;
  /** The principal of an account by its kind and its login or id; undefined if there is none that may come in. */
  named(kind: string, loginOrId: string): Promise<Principal | undefined>;
}

/** Who hears of what a book follows. */
export interface AccountBookOptions {
  /** As the identity service's: hears of accounts that may do less than before, by id. */
  readonly onAccountChange?: (accountId: string) => void;
}

/** Opens one that follows the identity service's changes, within a second. */
export async function openAccountBook(
  database: IdentityDatabase,
  { onAccountChange }: AccountBookOptions = {},
): Promise<AccountBook> {
  await using stack = new AsyncDisposableStack();
  const changes = stack.use(await IdentityChanges.open(database));
  const roles = stack.use(await openRoleBook(database, changes));
  if (onAccountChange) stack.use(changes.followAccounts(onAccountChange));
  const owned = stack.move();
  return {
    roles,
    current: (principal) => currentPrincipal(database, principal),
    named: (kind, loginOrId) => principalNamed(database, kind, loginOrId),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
