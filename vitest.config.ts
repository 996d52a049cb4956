import { defineConfig } from "vitest/config";
import LongestFirstSequencer from "./script/longest-first-sequencer.ts";
import { leftOut } from "./script/thorough-only.ts";

const libraries = ["packages", "services", "providers", "sdks"];
const everywhere = [...libraries, "apps", "script", "test"];
const notOurs = ["**/node_modules/**", "**/dist/**"];

/** Tests on real processes, sockets and PostgreSQL; they wait for others much of the time, so four go side by side. */
const real = {
  // Files share what they import: a third of the processor time.
  isolate: false,
  exclude: [...notOurs, ...leftOut(process.env, process.argv.slice(2))],
  testTimeout: 60_000,
  hookTimeout: 60_000,
  // On a shared machine: a test that fails once and then passes is reported as such.
  retry: process.env.CI ? 1 : 0,
  globalSetup: ["packages/testkit/src/global-setup.ts"],
  // An administrator's URL runs the database tests on another PostgreSQL (15 or newer) than the embedded one.
  provide: {
    hmsTestDatabaseUrl: process.env.HMS_TEST_DATABASE_URL ?? "",
    // "process-mtls" runs whole suites, not only what is about calls, with the service in a process of its own.
    hmsTestVia: process.env.HMS_TEST_VIA ?? "",
  },
};

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirstSequencer },
    reporters: process.env.CI ? ["default", "./script/closing-line-reporter.ts"] : ["default"],
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          // Pure tests share what they import: a third of the time.
          isolate: false,
          // Vitest would leave one of two processors idle.
          maxWorkers: 2,
          // Thousands of random cases take a second; on a machine that has much else to do, many.
          testTimeout: 30_000,
          include: everywhere.map((folder) => `${folder}/**/*.test.ts`),
          exclude: notOurs,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          ...real,
          name: "integration",
          include: libraries.map((folder) => `${folder}/**/*.itest.ts`),
          maxWorkers: 4,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          ...real,
          name: "system",
          include: ["apps/**/*.itest.ts", "test/**/*.itest.ts"],
          // Every installation has a name, folders, ports and addresses of its own.
          maxWorkers: 4,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          ...real,
          // What kills, starves and attacks the real thing; apart, so that `npm test` stays short enough to be run.
          name: "faults",
          include: everywhere.map((folder) => `${folder}/**/*.faults.ts`),
          maxWorkers: 4,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
