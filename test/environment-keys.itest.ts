import { globSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { openAdmin } from "@hms/postgres";
import { openTestDatabase } from "@hms/testkit";
import { describe, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");
const owners = globSync("{services,packages}/*/migrations", { cwd: root })
  .sort()
  .map((path) => ({ owner: path.split("/")[1] ?? "", migrations: pathToFileURL(`${root}/${path}`) }));

/** Services none of whose rows belongs to an environment, and why. */
const OUTSIDE: Readonly<Record<string, string>> = {
  identity: "people, their keys and their roles belong to the installation: one installation is one tenant",
};

const POSITIONED = "one log over all environments: positions are gapless over all of it";
const OF_RUN = "a part of its run";
/** Tables whose primary key has no environment, and why not. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  "communication.checkpoint_head": "one checkpoint for all chains",
  "communication.shard_head": "a chain has the events of all environments; each event says which",
  "communication.spool_position": "a spool has the events of all environments",
  "durable.attempt": OF_RUN,
  "durable.event": OF_RUN,
  "durable.fan_out": OF_RUN,
  "durable.log_chunk": OF_RUN,
  "durable.log_end": OF_RUN,
  "durable.run": "its id is unique in the installation; whoever looks names the environment, which is a column",
  "durable.task": OF_RUN,
  "events.consumer_group": "its name is unique in its environment; a group of the platform has none",
  "events.dead_letter": POSITIONED,
  "events.head": POSITIONED,
  "events.lease": POSITIONED,
  "events.log": POSITIONED,
  "events.member": "a part of its consumer group",
  "events.part": POSITIONED,
  "events.retry": POSITIONED,
  "events.shard": "a part of its consumer group",
  "integration.operation": "its id is drawn at random and must not be told again in another environment",
  "mesh.environment": "the list of the environments themselves",
  "mesh.snapshot": "one picture of all environments for every data plane",
  "registry.policy": "a policy may hold in all environments",
  "registry.policy_file": "one file for the installation",
  "registry.revocation": "tickets are revoked in all environments",
};

const KEYS = `
  select c.relname as name,
    coalesce(array_agg(a.attname::text order by a.attnum) filter (where i.indisprimary), '{}') as key
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_index i on i.indrelid = c.oid and i.indisprimary
  left join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)
  where c.relkind in ('r', 'p') and not c.relispartition
    and n.nspname not in ('pg_catalog', 'information_schema', 'public') and n.nspname not like 'pg_%'
  group by c.oid, c.relname order by c.relname`;

describe.each(owners.filter(({ owner }) => !(owner in OUTSIDE)))("every table of $owner", ({ owner, migrations }) => {
  test("has the environment in its primary key, or a reason why its rows belong to none", async () => {
    await using test = await openTestDatabase({ service: owner, migrations });
    await using admin = await openAdmin(test.source);
    const tables = await admin.query<{ name: string; key: string[] }>(KEYS);
    expect(tables.length).toBeGreaterThan(1);
    // Which migrations have run is a fact of the schema.
    const facts = tables.filter(({ name }) => name !== "migrations");
    const without = facts.filter(({ key }) => !key.includes("environment")).map(({ name }) => `${owner}.${name}`);
    const excepted = Object.keys(EXCEPTIONS).filter((name) => name.startsWith(`${owner}.`));
    expect(without.sort()).toEqual(excepted.sort());
  });
});
