import { defineConfig } from "vitest/config";

/** Suites and programs that others wrote, fetched by Go's and Python's own tools; run by hand, results in docs/proof.md. */
export default defineConfig({
  test: {
    include: ["test/foreign/*.foreign.ts", "packages/**/*.foreign.ts"],
    exclude: ["**/node_modules/**", "**/dist/**"],
    testTimeout: 600_000,
    hookTimeout: 900_000,
    fileParallelism: false,
    globalSetup: ["packages/testkit/src/global-setup.ts"],
    provide: { hmsTestDatabaseUrl: process.env.HMS_TEST_DATABASE_URL ?? "", hmsTestVia: "" },
  },
});
