/**
 * Whole files that are played by `npm run test:thorough` only, or when they are named: slow, and about what rarely breaks
 * unseen, since something else that runs each time stands on the same code.
 */
const THOROUGH_ONLY = [
  // What is published, installed elsewhere; the README's own start and tour run each time.
  "test/system/package.itest.ts",
  "sdks/python/package.itest.ts",
  "sdks/python/installation.itest.ts",
  "sdks/typescript/published.itest.ts",
  "sdks/typescript/installation.itest.ts",
  // Other surroundings of the whole installation.
  "test/system/backup.itest.ts",
  "test/system/external-database.itest.ts",
  "test/system/ordinary-user.itest.ts",
  "test/system/guide-services.itest.ts",
  "test/system/services-over-tls.itest.ts",
  "packages/postgres/src/disk-full.itest.ts",
  // Much of what other files break more briefly.
  "apps/agent/src/logs/replica-logs.itest.ts",
  "apps/agent/src/replica/disk-full.faults.ts",
  "apps/agent/src/replica/limits.faults.ts",
  "packages/events/src/lost-hints.faults.ts",
  "packages/postgres/src/recovery.faults.ts",
  "packages/proxy/src/running-callers.faults.ts",
  "packages/wire/src/frame-fuzz.faults.ts",
  "packages/wire/src/socket-load.faults.ts",
  "sdks/conformance/runner/operations-and-events.faults.ts",
  "services/deployment/src/side-by-side.faults.ts",
  "test/security/naughty-forms.faults.ts",
  "test/system/full-disk.faults.ts",
  "test/system/gateway-listen.faults.ts",
  "test/system/keeping.faults.ts",
  "test/system/neighbours.faults.ts",
  "test/system/side-by-side.faults.ts",
];

/** What is left out now: nothing in a thorough run, and nothing that the command line names. */
export function leftOut(env: NodeJS.ProcessEnv, argv: readonly string[]): string[] {
  if (env.HMS_TEST_THOROUGH === "1") return [];
  return THOROUGH_ONLY.filter((file) => !argv.some((named) => /[./]/.test(named) && file.includes(named)));
}
