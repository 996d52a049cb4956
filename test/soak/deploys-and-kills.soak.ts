import { waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { echoService } from "../system/echo-service.ts";
import { failures, startLoad } from "../system/open-loop-load.ts";
import { startPlatform } from "../system/platform.ts";
import { randomOf } from "./random-numbers.ts";

/** How many rounds; each is one deploy with one kill at a random moment. */
const ROUNDS = Number(process.env.HMS_SOAK_ROUNDS ?? 50);
const VICTIMS = ["server", "agent", "postgres"];

test(`${ROUNDS} deploys, each with a control process killed at a random moment, lose no request and all come to an end`, async () => {
  const seed = Number(process.env.HMS_SOAK_SEED ?? Date.now() % 100_000);
  const random = randomOf(seed);
  console.log(`seed ${seed}`);
  await using platform = await startPlatform();
  expect((await platform.cli("deploy", echoService(platform, { version: "0" }))).code).toBe(0);
  await using load = startLoad({
    url: platform.url("/echo-svc"),
    method: "POST",
    body: "{}",
    perSecond: 100,
  });
  for (let round = 1; round <= ROUNDS; round += 1) {
    const victim = VICTIMS[Math.floor(random() * VICTIMS.length)] ?? "server";
    // The one killed before may still be coming back.
    let pid = 0;
    const running = async () => {
      pid = await platform.pidOf(victim).catch(() => 0);
      return pid > 0;
    };
    await waitFor(running, {
      deadlineMs: 30_000,
      describe: () => `the ${victim} runs`,
    });
    const deploy = platform.cli("deploy", echoService(platform, { version: `${round}` }));
    const killAt = performance.now() + random() * 2500;
    await waitFor(() => performance.now() >= killAt, { deadlineMs: 5000, describe: () => "the moment has come" });
    process.kill(pid, "SIGKILL");
    const { code, stderr } = await deploy;
    console.log(`round ${round}: ${victim} killed, deploy exited ${code}`);
    expect(code, `round ${round}, ${victim} killed: ${stderr}`).toBe(0);
  }
  const records = await load.stop();
  console.log(`${records.length} requests, ${failures(records).length} failed`);
  expect(failures(records)).toEqual([]);
  const history = await platform.json<{ state: string }[]>("history", "echo-svc", "--limit", String(ROUNDS + 1));
  expect(history.every(({ state }) => state === "ROLLOUT_STATE_SUCCEEDED")).toBe(true);
});
