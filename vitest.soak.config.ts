import { defineConfig } from "vitest/config";

/** The long suites: run by hand, their results kept in docs/proof.md. */
export default defineConfig({
  test: {
    include: ["test/**/*.soak.ts"],
    testTimeout: 3_600_000,
    hookTimeout: 120_000,
    fileParallelism: false,
    globalSetup: ["packages/testkit/src/global-setup.ts"],
    provide: { hmsTestDatabaseUrl: "", hmsTestVia: "" },
  },
});
