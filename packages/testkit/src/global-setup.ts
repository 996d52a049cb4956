import { mkdtempSync, rmSync } from "node:fs";
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
  }
}

/**
 * For vitest's `globalSetup`: one PostgreSQL for a whole test run, started when the first test wants it and gone with
 * the run, also if that is killed.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = mkdtempSync("/tmp/hms-run-");
  const instance = tempInstance();
  let starting: Promise<TestPostgres> | undefined;
  const server = createServer((socket) => {
    socket.on("error", () => {});
    starting ??= startTestPostgres(instance.paths);
    starting.then(
      () => socket.end(answer({ paths: instance.paths })),
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

/** What the broker answers. */
export interface BrokerAnswer {
  paths?: InstancePaths;
  failure?: string;
}

const answer = (content: BrokerAnswer) => JSON.stringify(content);
