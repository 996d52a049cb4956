import { readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { rushPlot, withFigures } from "./comparison-page.ts";
import { type Comparison, comparePolicies } from "./policy-comparison.ts";

const guide = (name: string) => readFileSync(new URL(`../../../../docs/guide/${name}`, import.meta.url), "utf8");

let comparisons: Comparison[];
beforeAll(() => {
  comparisons = comparePolicies();
});

test("the guide shows the figures and the plot of this code; npm run generate writes them", () => {
  expect(withFigures(guide("scaling.md"), comparisons)).toBe(guide("scaling.md"));
  expect(rushPlot(comparisons)).toBe(guide("images/scaling-rush.svg"));
});

function outcomeOf(load: string, policy: string) {
  const found = comparisons.find(({ trace }) => trace.name === load)?.outcomes.find(({ name }) => name === policy);
  if (found === undefined) throw new Error(`${policy} was not compared under ${load}`);
  return found.outcome;
}

test.each(["step", "spike", "rush", "launch"])(
  "in the %s, concurrency has recovered before the others have",
  (load) => {
    const own = outcomeOf(load, "concurrency").recoverySeconds;
    expect(own).toBeGreaterThan(0);
    expect(own).toBeLessThan(outcomeOf(load, "CPU 70/30").recoverySeconds / 2);
    expect(own).toBeLessThan(outcomeOf(load, "HPA").recoverySeconds / 2);
  },
);

test("no policy loses a client where the load grows slowly", () => {
  for (const load of ["ramp", "day"]) {
    for (const policy of ["concurrency", "CPU 70/30", "HPA"]) {
      expect([load, policy, outcomeOf(load, policy).overloadedSeconds]).toEqual([load, policy, 0]);
    }
  }
});
