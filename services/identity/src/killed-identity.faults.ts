import { casesOf } from "@hms/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type KillableIdentity, openKillScene } from "./testing/killable-identity.ts";
import { accountOperations } from "./testing/killed-accounts.ts";
import { administrationOperations } from "./testing/killed-administration.ts";
import { loginOperations } from "./testing/killed-logins.ts";
import type { Begun, Stage } from "./testing/killed-stage.ts";

const operations = { ...loginOperations, ...accountOperations, ...administrationOperations };

/** No operation writes more often. Without `npm run test:thorough` the first and every fifth write stand for the others. */
const WRITES = casesOf(
  Array.from({ length: 30 }, (_, index) => index + 1),
  (n) => n === 1 || n % 5 === 4,
);

const stack = new AsyncDisposableStack();
const wrong: string[] = [];
let stage: Stage;
let at: KillableIdentity;
let start: () => Promise<KillableIdentity>;
beforeAll(async () => {
  // Each operation that is held up keeps a connection.
  const scene = await openKillScene(stack, { poolSize: 40 });
  ({ start } = scene);
  at = await start();
  stage = { database: scene.database, holds: await scene.holds() };
});
afterAll(() => stack.disposeAsync());

/** Every n-th write of all operations, each of another person, in one process that is killed then. */
async function killedAtWrite(n: number, names: readonly string[]): Promise<string[]> {
  const holds = await stage.holds.begin();
  const open: { name: string; begun: Begun; isAnswered: boolean }[] = [];
  for (const name of names) {
    const begun = await operations[name]?.({ ...stage, at, login: `${name.replaceAll(" ", "-")}-${n}` });
    if (begun === undefined) continue;
    const isHeld = await holds.heldAt(n, begun.run);
    open.push({ name, begun, isAnswered: !isHeld });
  }
  await at.kill();
  await holds.drop();
  at = await start();
  for (const { name, begun, isAnswered } of open) {
    const moment = isAnswered ? "after its answer" : `at write ${n}`;
    await begun.check(at, isAnswered).catch((error: Error) => {
      wrong.push(`${name}, killed ${moment}: ${error.stack}`);
    });
  }
  return open.filter(({ isAnswered }) => !isAnswered).map(({ name }) => name);
}

/** Kills each operation at each of its writes, and lets each come to its end once. */
async function killedAnywhere(names: readonly string[]): Promise<void> {
  let left = names;
  const held = new Set<string>();
  wrong.length = 0;
  for (const n of WRITES) {
    if (left.length === 0) break;
    left = await killedAtWrite(n, left);
    for (const name of left) held.add(name);
  }
  expect(wrong).toEqual([]);
  // Each was caught in the middle, and each was let to its end.
  expect([left, [...held].sort()]).toEqual([[], [...names].sort()]);
}

test("killed at any write of what lets people in, nothing that was taken back works, and nothing that is good is lost", async () => {
  await killedAnywhere(Object.keys({ ...loginOperations, ...accountOperations }));
}, 600_000);

// Apart, because whoever takes roles away waits for whoever deactivates somebody.
test("killed at any write of what admins take away and replace, all of it or nothing of it is gone", async () => {
  await killedAnywhere(Object.keys(administrationOperations));
}, 600_000);
