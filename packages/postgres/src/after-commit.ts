const hooks = new WeakMap<object, (() => void)[]>();

/** Lets afterCommit() accept hooks of this transaction. */
export function watchCommit<T extends object>(transaction: T): T {
  hooks.set(transaction, []);
  return transaction;
}

/**
 * Calls `hook` when a transaction of ServiceDatabase.transaction() has been committed, or may have been (its answer was
 * lost); never after a rollback. The hook must not throw. False if the transaction is not one of those: nobody will call.
 */
export function afterCommit(transaction: object, hook: () => void): boolean {
  const waiting = hooks.get(transaction);
  waiting?.push(hook);
  return waiting !== undefined;
}

/** Calls the hooks of a transaction, once. */
export function runCommitHooks(transaction: object): void {
  const waiting = hooks.get(transaction) ?? [];
  hooks.delete(transaction);
  for (const hook of waiting) hook();
}
