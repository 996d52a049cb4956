import { appendFileSync } from "node:fs";
import type { Reporter, TestModule } from "vitest/node";

/**
 * Ends a run with "N passed, N failed" alone on a line, as CI reads it; where HMS_TEST_COUNTS names a file, adds the two
 * numbers to that instead, and `.ci/run` tells the sum of all runs.
 */
export default class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    let passed = 0;
    let failed = 0;
    for (const module of modules) {
      if (module.state() === "failed" && [...module.children.allTests("failed")].length === 0) failed += 1;
      for (const test of module.children.allTests()) {
        const state = test.result().state;
        if (state === "passed") passed += 1;
        if (state === "failed") failed += 1;
      }
    }
    const counts = process.env.HMS_TEST_COUNTS;
    if (counts) appendFileSync(counts, `${passed} ${failed}\n`);
    else process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
  }
}
