import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The files that take longest, the longest first; seconds on two cores, 2026-11-27: 80 to 35. */
const LONGEST = [
  "test/system/ffi-services",
  "test/system/rollouts",
  "sdks/conformance/runner/operations-and-events",
  "sdks/conformance/runner/conformance",
  "services/registry/src/killed-registry",
  "test/system/broken-rollouts",
  "test/system/package",
  "services/deployment/src/crash-resume",
  "test/system/keeping",
  "test/system/neighbours",
  "test/system/newcomer",
  "test/system/command-line",
  "test/system/survival",
  "test/system/ffi-tools",
  "packages/postgres/src/embedded-plan",
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
