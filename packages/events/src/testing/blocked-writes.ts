import { type ConnectionSource, openAdmin } from "@hms/postgres";
import { waitFor } from "@hms/testkit";

/** Lets whoever writes a table, or a partition of it, wait until it is disposed; `stuck` settles when somebody does. */
export async function blockWrites(source: ConnectionSource, table: string) {
  const admin = await openAdmin(source);
  await admin.query(`begin; lock table ${table} in share mode`);
  const isWaiting = async () => {
    const sql = `select from pg_locks where not granted and relation in
      (select $1::regclass union select inhrelid from pg_inherits where inhparent = $1::regclass)`;
    return (await admin.query(sql, [table])).length > 0;
  };
  return {
    stuck: () => waitFor(isWaiting, { intervalMs: 5, deadlineMs: 30_000, describe: `somebody to wait for ${table}` }),
    async [Symbol.asyncDispose]() {
      await admin.query("commit");
      await admin[Symbol.asyncDispose]();
    },
  };
}
