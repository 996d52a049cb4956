import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { InstancePaths } from "@hms/config";
import type { TestProject } from "vitest/node";
import { tempInstance } from "./temp-instance.ts";
import { startTestPostgres, type TestPostgres } from "./test-postgres.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The socket that answers with the paths of the test run's PostgreSQL, and starts it when first asked. */
    hmsTestPostgresSocket: string;
    /** An administrator's URL of a PostgreSQL to test on instead, or "". */
    hmsTestDatabaseUrl: string;
    /** How services are called in tests that say nothing of it, one of `testTransports`, or "": in-process. */
    hmsTestVia: string;
  }
}

/**
 * For vitest's `globalSetup`: one PostgreSQL for a whole test run, started when the first test wants it and gone with
 * the run, also if that is killed. With HMS_TEST_DATABASE_URL (see vitest.config.ts) the tests use that server instead.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = mkdtempSync("/tmp/hms-run-");
  shareStateHome(folder);
  shareCompiledCode();
  const instance = tempInstance();
  const databaseUrl = project.getProvidedContext().hmsTestDatabaseUrl || undefined;
  let starting: Promise<TestPostgres> | undefined;
  const server = createServer((socket) => {
    socket.on("error", () => {});
    const { paths } = instance;
    if (databaseUrl) return socket.end(answer({ paths, databaseUrl }));
    starting ??= startTestPostgres(paths);
    starting.then(
      () => socket.end(answer({ paths })),
      (error: unknown) => socket.end(answer({ failure: (error as Error).message })),
    );
  });
  const path = join(folder, "broker.sock");
  await new Promise<void>((resolve) => server.listen(path, resolve));
  project.provide("hmsTestPostgresSocket", path);
  return async () => {
    server.close();
    const postgres = await starting?.catch(() => undefined);
    await postgres?.[Symbol.asyncDispose]();
    await instance[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  };
}

/**
 * Gives the installations of a test run one state folder that all users may read: there each sees which ports and
 * addresses another one has that is stopped for the moment, and leaves them to it.
 */
function shareStateHome(folder: string): void {
  const stateHome = join(folder, "state");
  mkdirSync(join(stateHome, "hms-sys"), { recursive: true });
  for (const each of [folder, stateHome, join(stateHome, "hms-sys")]) chmodSync(each, 0o755);
  // biome-ignore-start lint/style/noProcessEnv: workers and what they start inherit it.
  process.env.XDG_STATE_HOME = stateHome;
  process.env.HMS_TEST_RUN = folder;
  // biome-ignore-end lint/style/noProcessEnv: as above.
}

/** Lets every process of a test run start with what Node has compiled before, as `hms-sys` does. */
function shareCompiledCode(): void {
  const cache = new URL("../../../node_modules/.cache/node-compile", import.meta.url).pathname;
  // biome-ignore lint/style/noProcessEnv: as above.
  process.env.NODE_COMPILE_CACHE ??= cache;
}

/** What the broker answers. */
export interface BrokerAnswer {
  paths?: InstancePaths;
  databaseUrl?: string;
  failure?: string;
}

const answer = (content: BrokerAnswer) => JSON.stringify(content);
