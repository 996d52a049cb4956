import { sql } from "kysely";
import type { IdentityDatabase, Queries } from "../identity-tables.ts";
import { sha256 } from "../secret-digest.ts";

/** What is counted together, from how many failures on it waits, and how long at most. */
interface Measure {
  readonly key: Buffer;
  readonly free: number;
  readonly longestSeconds: number;
}

/** After this long without a failure nothing is remembered. */
const FORGOTTEN_AFTER = "1 hour";

/** What is tried, and from where. */
export interface Attempt {
  /** The login, as it was given. */
  readonly subject: string;
  /** The client's address. */
  readonly address: string;
  /** True: few are possible, so few may be tried, also from many places; default false. */
  readonly isGuessable?: boolean;
}

/** The network of an address: IPv4 alone, of IPv6 the first 64 bits. */
export function networkOf(address: string): string {
  if (!address.includes(":")) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = "", tail = ""] = address.toLowerCase().split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === "" ? [] : tail.split(":");
  const zeros = Math.max(0, 8 - front.length - back.length);
  return [...front, ...Array<string>(zeros).fill("0"), ...back]
    .slice(0, 4)
    .map((part) => part.replace(/^0+(?=.)/, ""))
    .join(":");
}

// An account by itself waits later and shorter than one pair of network and account: strangers could lock it otherwise.
function measuresOf({ subject, address, isGuessable = false }: Attempt): Measure[] {
  const network = networkOf(address);
  // Everybody on this machine comes from there: one of them must not lock out all others.
  const isLoopback = network.startsWith("127.") || network === "0:0:0:0";
  const own = [
    { key: sha256(`pair\0${network}\0${subject}`), free: 5, longestSeconds: 900 },
    {
      key: sha256(`account\0${subject}`),
      // Nobody gets there without the password, so strangers cannot lock it.
      ...(isGuessable ? { free: 10, longestSeconds: 900 } : { free: 20, longestSeconds: 60 }),
    },
  ];
  return isLoopback ? own : [...own, { key: sha256(`network\0${network}`), free: 50, longestSeconds: 300 }];
}

/**
 * Counts an attempt as failed before it is made, so that many at once count too; false if there were too many of late.
 * From a number on each failure doubles the wait.
 */
export function beginAttempt(database: IdentityDatabase, attempt: Attempt): Promise<boolean> {
  return database.transaction(async (queries) => {
    let isFree = true;
    for (const measure of measuresOf(attempt)) if (!(await count(queries, measure))) isFree = false;
    return isFree;
  });
}

async function count(queries: Queries, { key, free, longestSeconds }: Measure): Promise<boolean> {
  // The row is locked until the transaction ends: attempts at once are counted one after the other.
  const { rows } = await sql<{ failures: number; blocked: boolean }>`
    insert into attempt as a (key, failures) values (${key}, 0)
    on conflict (key) do update set
      failures = case when a.last_at < clock_timestamp() - ${FORGOTTEN_AFTER}::interval then 0 else a.failures end
    returning failures, blocked_until > clock_timestamp() as blocked`.execute(queries);
  const [{ failures, blocked } = { failures: 0, blocked: false }] = rows;
  if (blocked) return false;
  const now = failures + 1;
  const waitSeconds = now < free ? 0 : Math.min(longestSeconds, 2 ** Math.min(20, now - free));
  await sql`update attempt set failures = ${Math.min(now, 1000)}, last_at = clock_timestamp(),
    blocked_until = clock_timestamp() + ${`${waitSeconds} seconds`}::interval where key = ${key}`.execute(queries);
  return true;
}

/** Forgets the failures of an account, because it was its owner after all; of its network this attempt only. */
export async function endAttempt({ db }: IdentityDatabase, attempt: Attempt): Promise<void> {
  const [pair, account, network] = measuresOf(attempt).map(({ key }) => key);
  await sql`delete from attempt where key in (${pair}, ${account})`.execute(db);
  await sql`update attempt set failures = greatest(0, failures - 1) where key = ${network}`.execute(db);
}
