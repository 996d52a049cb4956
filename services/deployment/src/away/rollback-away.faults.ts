import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deployment } from "@hms/contracts";
import { startTestPostgres, tempInstance, waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { openGround, openServer, outcomeOf } from "../testing/test-site.ts";

const { RolloutState, RolloutKind } = deployment;
/** A killed server keeps what it has committed, a machine without power would not. */
const settings = "fsync = off\n";
const service = { environment: "default", service: "echo" };

test("a rollback works while PostgreSQL is away, under load, and is in the history when it is back", async () => {
  await using stack = new AsyncDisposableStack();
  const kept = mkdtempSync(join(tmpdir(), "hms-kept-"));
  stack.defer(() => rmSync(kept, { recursive: true }));
  const { paths } = stack.use(tempInstance());
  const killed = await startTestPostgres(paths, { settings });
  const ground = stack.use(await openGround({ source: killed.source, kept }));
  const { client } = stack.use(await openServer(ground));
  for (const version of ["1", "2"]) await outcomeOf(client.deploy(ground.program.write({ version })));
  ground.plane.load(5);
  await killed.kill();

  const { ended, events } = await outcomeOf(client.rollback({ ...service, reason: "it is bad" }));
  expect(ended).toMatchObject({ state: RolloutState.SUCCEEDED, revision: 1n });
  expect(ground.plane.active.every(({ revision }) => revision === 1n)).toBe(true);
  const [first] = events;
  expect(first?.event.case === "planned" && first.event.value.warnings.join()).toMatch(/kept in .*\.spool, and entered/);
  const shown = await client.getService(service);
  expect(shown).toMatchObject({ service: { revision: 1n }, notice: expect.stringContaining("not in the history yet") });
  await expect(client.deploy(ground.program.write({ version: "3" }))[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    code: "UNAVAILABLE",
  });

  stack.use(await startTestPostgres(paths, { settings }));
  await waitFor(() => readdirSync(join(kept, "deployment/rollbacks")).length === 0, { describe: "the spool to be taken in" });
  const { rollouts } = await client.listRollouts(service);
  expect(rollouts[0]).toMatchObject({
    kind: RolloutKind.ROLLBACK,
    state: RolloutState.SUCCEEDED,
    revision: 1n,
    previousRevision: 2n,
    reason: "it is bad (rolled back while the database was away)",
  });
  expect(await client.getService(service)).toMatchObject({ service: { revision: 1n, replicasReady: 2 }, notice: "" });
  const third = await outcomeOf(client.deploy(ground.program.write({ version: "3" })));
  expect(third.ended.state).toBe(RolloutState.SUCCEEDED);
  expect(ground.agent.running()).toHaveLength(2);
  expect(await ground.plane.stopLoad()).toEqual([]);
}, 60_000);
