import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The files that take longest, the longest first; seconds on two cores, 2026-11-27: 190 to 50. */
const LONGEST = [
  "test/system/degradation",
  "services/registry/src/killed-registry",
  "test/system/rollouts",
  "test/system/ffi-services",
  "test/system/command-line",
  "sdks/conformance/runner/conformance",
  "test/system/newcomer",
  "test/system/survival",
  "sdks/conformance/runner/operations-and-events",
  "test/system/neighbours",
  "services/identity/src/oidc/several-processes",
  "services/deployment/src/crash-resume",
  "test/system/keeping",
  "test/system/broken-rollouts",
  "packages/postgres/src/embedded-plan",
  "test/system/package",
  "test/system/apart",
  "test/system/identity",
  "apps/cli/src/ffi",
  "apps/dataplane/test/names",
  "services/deployment/src/rollouts",
  "sdks/python/package",
  "test/system/ffi-tools",
];

const rank = ({ moduleId }: TestSpecification) => {
  const at = LONGEST.findIndex((name) => moduleId.includes(`/${name}.`));
  return at === -1 ? LONGEST.length : at;
};

/** Starts the longest files first, so that no worker is left alone with one in the end; a fresh clone knows no durations. */
export default class LongestFirstSequencer extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((one, other) => rank(one) - rank(other));
  }
}
