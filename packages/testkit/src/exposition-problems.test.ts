import { describe, expect, test } from "vitest";
import { expositionProblems } from "./exposition-problems.ts";

const HISTOGRAM = `# HELP h_seconds How long it takes.
# TYPE h_seconds histogram
h_seconds_bucket{a="x",le="0.1"} 1
h_seconds_bucket{a="x",le="+Inf"} 3
h_seconds_sum{a="x"} 4.5
h_seconds_count{a="x"} 3
`;

describe("a page of metrics", () => {
  test.each([
    '# HELP c_total Calls \\\\ and "more".\n# TYPE c_total counter\nc_total{a="x\\"\\\\\\n,}"} 1\nc_total{a="y"} 2e3\n',
    "# TYPE g gauge\ng -1.5\n",
    "# TYPE g gauge\ng +Inf 1712345678901\n",
    HISTOGRAM,
    `${HISTOGRAM}# TYPE g gauge\ng NaN\n`,
  ])("that is well formed has no problem: %s", (page) => {
    expect(expositionProblems(page)).toEqual([]);
  });

  test.each([
    ["# TYPE g gauge\ng 1", "does not end"],
    ["# TYPE g gauge\ng one\n", "not a line of the format: g one"],
    ['# TYPE g gauge\ng{a="\\q"} 1\n', "not a line of the format"],
    ['# TYPE g gauge\ng{a="x" b="y"} 1\n', "not a line of the format"],
    ["# TYPE g gouge\ng 1\n", "unknown type gouge"],
    ["g 1\n", "g has no type"],
    ["g 1\n# TYPE g gauge\n", "comes after its values"],
    ["# TYPE g gauge\n# TYPE f gauge\ng 1\nf 1\n", "are not together"],
    ['# TYPE g gauge\ng{a="x",b="y"} 1\ng{b="y",a="x"} 1\n', "one series twice"],
    ["# TYPE c counter\nc 1\n", "does not end in _total"],
    ["# TYPE c_total counter\nc_total -1\n", "below zero"],
    [HISTOGRAM.replace("} 1\n", "} 4\n"), "do not grow"],
    [HISTOGRAM.replace("+Inf", "5"), "no last bucket"],
    [HISTOGRAM.replace('count{a="x"} 3', 'count{a="x"} 2'), "miscounts"],
    [HISTOGRAM.replace(/h_seconds_sum.*\n/, ""), "no sum"],
  ])("that is not is told what is wrong: %s", (page, problem) => {
    expect(expositionProblems(page).join("\n")).toContain(problem);
  });
});
