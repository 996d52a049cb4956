import { deployment } from "@hms/contracts";
import { openServiceDatabase } from "@hms/postgres";
import { startTestPostgres, tempInstance, waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { type DeploymentTables, deploymentMigrations } from "./index.ts";
import { openGround, openServer, outcomeOf } from "./testing/test-site.ts";

/** A killed server keeps what it has committed, a machine without power would not. */
const settings = "fsync = off\n";

test("when PostgreSQL is killed in a rollout, traffic goes on, the rollout waits, and ends well when it is back", async () => {
  await using stack = new AsyncDisposableStack();
  const ground = stack.use(await openGround());
  const { paths } = stack.use(tempInstance());
  const killed = await startTestPostgres(paths, { settings });
  const open = { source: killed.source, service: "deployment", migrations: deploymentMigrations };
  const database = stack.use(await openServiceDatabase<DeploymentTables>(open));
  const own = { ...ground, database: { ...ground.database, database } };
  const { client } = stack.use(await openServer(own));
  await outcomeOf(client.deploy(ground.program.write({ version: "1" })));
  ground.plane.load(5);
  const slow = "const until = Date.now() + 800; while (Date.now() < until);";
  const outcome = outcomeOf(client.deploy(ground.program.write({ version: "2", before: slow })));
  await waitFor(() => ground.agent.running().length === 3, { describe: "the first new replica to start" });
  await killed.kill();
  await waitFor(() => ground.plane.answers.length > 300, { describe: "traffic to go on" });
  expect(ground.agent.running()).toHaveLength(3);
  stack.use(await startTestPostgres(paths, { settings }));
  const { ended, events } = await outcome;
  expect(ended.state).toBe(deployment.RolloutState.SUCCEEDED);
  expect(events.map(({ sequence }) => Number(sequence))).toEqual(events.map((_, index) => index + 1));
  expect(await ground.plane.stopLoad()).toEqual([]);
  expect(ground.plane.active.every(({ revision }) => revision === 2n)).toBe(true);
});
