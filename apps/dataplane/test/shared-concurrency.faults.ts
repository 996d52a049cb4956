import { mesh } from "@hms/contracts";
import { freePort, waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { startDataPlane } from "./support/data-plane-process.ts";
import { startHoldingService } from "./support/holding-service.ts";
import { type Installation, openInstallation } from "./support/installation.ts";
import { hasRedis, startRedis } from "./support/redis.ts";
import { snapshotOf } from "./support/snapshots.ts";

const PLACES = 3;

test.skipIf(!hasRedis)(
  "the places of a gateway that is killed are free again within its lease, and those of the others stay",
  async () => {
    await using stack = new AsyncDisposableStack();
    const port = await freePort();
    const redis = await startRedis(port);
    stack.defer(() => void redis.kill("SIGKILL"));
    const service = stack.use(await startHoldingService());
    const open = async () => {
      const installation: Installation = stack.use(await openInstallation());
      const limits = [{ by: mesh.LimitScope.ROUTE, concurrency: PLACES }];
      installation.store.save(
        snapshotOf(1, [{ name: "svc", upstreams: [service.port], path: "/*", route: { limits } }]),
      );
      installation.env.HMS_REDIS_URL = `redis://127.0.0.1:${port}`;
      const plane = stack.use(await startDataPlane(installation));
      await waitFor(async () => (await plane.health()).problems.length === 0, { describe: "Redis to be used" });
      const ask = () =>
        fetch(`http://127.0.0.1:${installation.network.gatewayPort}/`, { headers: { connection: "close" } }).then(
          ({ status }) => status,
          () => 0,
        );
      return { plane, ask };
    };
    const [killed, staying] = [await open(), await open()];
    const kept = staying.ask();
    const lost = [killed.ask(), killed.ask()];
    await waitFor(() => service.running === PLACES, { describe: "all places to be taken" });
    expect(await staying.ask()).toBe(429);
    killed.plane.child.kill("SIGKILL");
    const killedAt = performance.now();
    await killed.plane.ended;
    expect(await Promise.all(lost)).toEqual([0, 0]);
    await waitFor(() => service.running === 1, { describe: "the killed one's requests to be cut" });
    // Nobody has said that their places are free.
    expect(await staying.ask()).toBe(429);
    const again: Promise<number>[] = [];
    await waitFor(
      async () => {
        const before = service.running;
        let status = -1;
        const next = staying.ask();
        void next.then((answer) => {
          status = answer;
        });
        await waitFor(() => status === 429 || service.running > before, { describe: "an answer, or none" });
        if (status !== 429) again.push(next);
        return again.length === PLACES - 1;
      },
      { deadlineMs: 20_000, describe: "the places of the killed one to be free" },
    );
    expect(performance.now() - killedAt).toBeLessThan(15_000);
    expect(await staying.ask()).toBe(429);
    service.release();
    expect(await Promise.all([kept, ...again])).toEqual([200, 200, 200]);
  },
  60_000,
);
