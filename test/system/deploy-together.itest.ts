import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { type Platform, startPlatform } from "./platform.ts";

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
}, 120_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

const CRASH = "process.exit(3);";

/** Writes three services, of which web needs api and api needs db; answers with the folder in which they lie. */
function write(version: string, crashes: readonly string[] = []): string {
  const needs: Record<string, string> = { web: "needs: [api]", api: "needs: [db]" };
  const files = ["web", "api", "db"].map((name) => {
    const before = crashes.includes(name) ? CRASH : "";
    return echoService(platform, {
      name,
      version,
      replicas: 1,
      manifest: needs[name] ?? "",
      before,
      startTimeout: "5s",
    });
  });
  return dirname(dirname(files[0] ?? ""));
}

const versions = () =>
  Promise.all(
    ["db", "api", "web"].map(async (name) => {
      const response = await fetch(platform.url(`/${name}`));
      return response.ok ? ((await response.json()) as { version: string }).version : String(response.status);
    }),
  );

describe("several services at once", () => {
  test("are deployed in the order of their needs, and a failure goes back over all of them if it should", async () => {
    const alone = await platform.cli("deploy", join(write("0"), "api", "api.hms.yml"));
    expect(alone).toMatchObject({ code: 0, stderr: expect.stringContaining("It needs db, which does not serve now.") });
    const first = await platform.cli("deploy", write("1"));
    expect(first).toMatchObject({ code: 0, stderr: expect.stringContaining("In this order: db, api, web") });
    expect(first.stdout).toMatch(/db +deployed.*\n.*api +deployed.*\n.*web +deployed/);
    expect(await versions()).toEqual(["1", "1", "1"]);

    const halted = await platform.cli("deploy", write("2", ["api"]));
    expect(halted.code).toBe(3);
    expect(halted.stdout).toMatch(/db +deployed.*\n.*api +failed.*\n.*web +not begun/);
    expect(await versions()).toEqual(["2", "1", "1"]);

    const back = await platform.cli("deploy", write("3", ["web"]), "--on-failure", "rollback-all", "-o", "json");
    expect(back.code).toBe(3);
    const { services } = JSON.parse(back.stdout.trim().split("\n").at(-1) ?? "") as { services: unknown };
    expect(services).toMatchObject([
      { service: "db", outcome: "gone back" },
      { service: "api", outcome: "gone back" },
      { service: "web", outcome: "failed" },
    ]);
    expect(await versions()).toEqual(["2", "1", "1"]);
  }, 180_000);
});
