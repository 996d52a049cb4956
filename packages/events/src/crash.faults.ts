import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { isThorough, sharedPostgres, waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { openCrashArena, orderBroken, unexplainedRepeats, victims } from "./testing/crash-arena.ts";
import type { CrashOrder } from "./testing/crash-process.ts";
import { numbered, openShopAlone } from "./testing/shop.ts";

/** In one run every process is killed this often. */
const ROUNDS = isThorough ? 2 : 1;

test("kill -9 of publisher, relay, consumers and PostgreSQL while events flow: nothing acknowledged is lost, no position is missing, keys keep their order", async () => {
  await using arena = await openCrashArena();
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const victim of victims) {
      // Any moment will do: so many more events, and not a round number of milliseconds.
      const enough = arena.handled.length + Math.floor(Math.random() * 400);
      await waitFor(() => arena.handled.length >= enough, {
        deadlineMs: 30_000,
        intervalMs: 1,
        describe: () => `events to flow before ${victim} dies; failures: ${arena.failures.join(" · ")}`,
      });
      await arena.kill(victim);
    }
  }
  await arena.settle();
  const log = await arena.readLog();
  expect(log.map(({ position }) => position)).toEqual(log.map((_, index) => index + 1));
  expect(new Set(log.map(({ event_id }) => event_id)).size).toBe(log.length);
  expect(orderBroken(arena.handled)).toEqual([]);
  expect(unexplainedRepeats(arena)).toEqual([]);
  expect(arena.failures).toEqual([]);
}, 120_000);

test.each(["consumer", "worker"] as const)(
  "an event that kills its %s each time becomes a dead letter, and takes no other with it",
  async (role) => {
    await using shop = await openShopAlone();
    await shop.outbox.publish(numbered("crash.poison", 30, (n) => ({ partitionkey: `k${n}` })));
    const { paths, databaseUrl } = await sharedPostgres();
    // The processes find the database in the installation's folders.
    if (databaseUrl) return;
    const database = shop.place.name;
    const order: CrashOrder = { paths, database, role, migrations: "", next: {}, leaseMs: 300, poison: 7 };
    const program = fileURLToPath(new URL("./testing/crash-process.ts", import.meta.url));
    let isOver = false;
    const incarnations = async () => {
      for (let n = 0; n < 10 && !isOver; n += 1) {
        const child = spawn(process.execPath, [program, JSON.stringify(order)], {
          stdio: ["pipe", "ignore", "inherit"],
        });
        const stop = setInterval(() => isOver && child.kill("SIGKILL"), 20);
        await once(child, "close");
        clearInterval(stop);
      }
    };
    const running = incarnations();
    const handle = shop.log.group(`crash-${role}`);
    const state = async () => {
      const { lag, deadLetters } = await handle.status();
      return lag === 0 && deadLetters > 0;
    };
    await waitFor(state, { deadlineMs: 45_000, describe: "the others to be handled" }).finally(() => {
      isOver = true;
    });
    await running;
    const dead: unknown[] = [];
    for await (const { event } of handle.deadLetters()) dead.push(event.data);
    expect(dead).toEqual([{ n: 7 }]);
  },
);
