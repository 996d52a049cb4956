import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The files that take longest, the longest first; seconds beside three others on two cores, 2026-11-28: 216 to 40. */
const LONGEST = [
  "test/system/degradation",
  "test/system/command-line",
  "sdks/conformance/runner/conformance",
  "test/system/ffi-services",
  "test/system/rollouts",
  "test/system/newcomer",
  "test/system/apart",
  "services/identity/src/killed-identity",
  "test/system/identity",
  "services/registry/src/killed-registry",
  "test/system/hostile-input",
  "test/system/survival",
  "services/deployment/src/gates",
  "services/deployment/src/rollouts",
  "apps/cli/src/ffi",
  "test/security/running-server",
  "services/integration/src/events/events",
  "apps/agent/src/replica/replica-life",
  "sdks/python/python",
  "test/system/runs",
  "apps/cli/src/generate/generate",
  "services/deployment/src/crash-resume",
  "packages/durable/src/crash-matrix",
  "test/system/broken-rollouts",
  "test/system/secrets",
  "test/system/full-spool",
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
