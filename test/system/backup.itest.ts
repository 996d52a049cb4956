import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { startPlatform } from "./platform.ts";

/** As docs/guide/operating.md says it. */
test("a backup of the data and the config directory brings back everything as it was", async () => {
  await using platform = await startPlatform();
  const version = async () => ((await (await fetch(platform.url("/echo-svc"))).json()) as { version: string }).version;
  const deploy = (name: string) => platform.cli("deploy", echoService(platform, { version: name }));
  expect(await deploy("1")).toMatchObject({ code: 0 });
  expect(await platform.stop()).toBe(0);
  const home = dirname(platform.data);
  const archive = join(home, "backup.tgz");
  execFileSync("tar", ["-C", home, "-czpf", archive, "d", "c"]);

  await platform.start();
  expect(await deploy("2")).toMatchObject({ code: 0 });
  expect(await version()).toBe("2");
  expect(await platform.stop()).toBe(0);
  for (const folder of ["d", "c"]) rmSync(join(home, folder), { recursive: true });
  execFileSync("tar", ["-C", home, "-xzpf", archive]);

  await platform.start();
  expect(await version()).toBe("1");
  expect(await platform.json<{ version: string }[]>("history", "echo-svc")).toMatchObject([{ version: "1" }]);
  expect(await deploy("3")).toMatchObject({ code: 0 });
  expect(await version()).toBe("3");
  expect((await platform.json<{ level: string }[]>("doctor")).filter(({ level }) => level === "problem")).toEqual([]);
}, 180_000);
