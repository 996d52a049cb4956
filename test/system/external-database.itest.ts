import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { startExternalPostgres } from "./external-postgres.ts";
import { failures, startLoad } from "./open-loop-load.ts";
import { startPlatform } from "./platform.ts";

test("an installation on a PostgreSQL of the operator's deploys, serves, restarts and stops as on its own", async () => {
  await using postgres = await startExternalPostgres();
  await using platform = await startPlatform({ env: { DATABASE_URL: postgres.url } });
  const version = async () => ((await (await fetch(platform.url("/echo-svc"))).json()) as { version: string }).version;
  const deploy = (name: string) => platform.cli("deploy", echoService(platform, { version: name }));
  expect(await deploy("1")).toMatchObject({ code: 0 });
  expect(await version()).toBe("1");
  const { components } = await platform.json<{ components: { name: string }[] }>("status");
  expect(components.map(({ name }) => name).sort()).toEqual(["agent", "dataplane", "server"]);
  expect(existsSync(join(platform.data, "postgres"))).toBe(false);
  const findings = await platform.json<{ check: string; level: string }[]>("doctor");
  expect(findings.filter(({ level }) => level === "problem")).toEqual([]);

  await using load = startLoad({ url: platform.url("/echo-svc"), perSecond: 50 });
  expect(await platform.cli("restart-component", "server")).toMatchObject({ code: 0 });
  expect(await deploy("2")).toMatchObject({ code: 0 });
  expect(failures(await load.stop())).toEqual([]);

  expect(await platform.stop()).toBe(0);
  await platform.start();
  expect(await version()).toBe("2");
  expect(await platform.json<unknown[]>("history", "echo-svc")).toHaveLength(2);
  expect(await platform.cli("down")).toMatchObject({ code: 0 });
  // Everything has a schema of its own there, and a role that may use only that.
  const schemas = postgres.psql("select nspname from pg_namespace")?.split("\n");
  if (schemas) expect(schemas).toEqual(expect.arrayContaining(["deployment", "mesh", "registry"]));
}, 180_000);

test("the doctor says that services share a database role that may create none, and what ends that", async (context) => {
  await using postgres = await startExternalPostgres();
  if (postgres.psql("alter role ops nocreaterole") === undefined) context.skip("there is no PostgreSQL with psql here");
  await using platform = await startPlatform({ env: { DATABASE_URL: postgres.url } });
  const findings = await platform.json<{ check: string; level: string; remedy?: string }[]>("doctor");
  expect(findings).toContainEqual(
    expect.objectContaining({
      check: "database roles",
      level: "warning",
      finding: expect.stringContaining("share the role ops"),
      remedy: expect.stringContaining("ALTER ROLE ops CREATEROLE"),
    }),
  );
}, 120_000);
