/** How many DNS queries ended how, since the process started. */
export interface QueryCounts {
  /** A mesh name that exists. */
  answered: number;
  /** A mesh name that does not exist. */
  unknown: number;
  /** Answered by the machine's own resolvers. */
  forwarded: number;
  /** No resolver answered, or the service's address could not be opened. */
  failed: number;
  /** Not a query that can be read. */
  malformed: number;
}

/** Counts that start at zero. */
export function newQueryCounts(): QueryCounts {
  return { answered: 0, unknown: 0, forwarded: 0, failed: 0, malformed: 0 };
}
