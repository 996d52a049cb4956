import { defineConfig } from "vitest/config";

const everywhere = ["packages", "services", "providers", "apps", "sdks", "script", "test"];

export default defineConfig({
  test: {
    reporters: process.env.CI ? ["default", "./script/closing-line-reporter.ts"] : ["default"],
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          // Pure tests share what they import: a third of the time.
          isolate: false,
          // Thousands of random cases take a second; on a machine that has much else to do, many.
          testTimeout: 30_000,
          include: everywhere.map((folder) => `${folder}/**/*.test.ts`),
          exclude: ["**/node_modules/**", "**/dist/**"],
        },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: everywhere.map((folder) => `${folder}/**/*.itest.ts`),
          exclude: ["**/node_modules/**", "**/dist/**"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          // Real processes on a shared machine: a test that fails once and then passes is reported as such.
          retry: process.env.CI ? 1 : 0,
          globalSetup: ["packages/testkit/src/global-setup.ts"],
          // An administrator's URL runs the database tests on another PostgreSQL (15 or newer) than the embedded one.
          provide: { hmsTestDatabaseUrl: process.env.HMS_TEST_DATABASE_URL ?? "" },
        },
      },
    ],
  },
});
