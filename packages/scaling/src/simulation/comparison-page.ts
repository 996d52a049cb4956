import { comparisonPlot } from "./comparison-plot.ts";
import { type Comparison, neededReplicas } from "./policy-comparison.ts";

const HEAD = [
  "| Load | Policy | Recovered after | Overloaded | Clients that left | Replica minutes too many | Replica hours | Changes |",
  "|---|---|---|---|---|---|---|---|",
];

/** The figures of every load and policy, as a table in Markdown. */
function comparisonTable(comparisons: readonly Comparison[]): string {
  const rows = comparisons.flatMap(({ trace, outcomes }) =>
    outcomes.map(({ name, outcome }) => {
      const { recoverySeconds, overloadedSeconds, lostShare, surplusReplicaSeconds, replicaSeconds, changes } = outcome;
      const cells = [
        trace.name,
        name,
        recoverySeconds === 0 ? "never overloaded" : `${recoverySeconds} s`,
        `${overloadedSeconds} s`,
        lostShare === 0 ? "none" : `${(lostShare * 100).toFixed(2)} %`,
        Math.round(surplusReplicaSeconds / 60).toString(),
        (replicaSeconds / 3600).toFixed(1),
        String(changes),
      ];
      return `| ${cells.join(" | ")} |`;
    }),
  );
  return [...HEAD, ...rows].join("\n");
}

/** Where the page's table begins and ends. */
const BEGIN = "<!-- figures -->";
const END = "<!-- end of figures -->";

/** The page with the figures of this very code in it. @throws Error if it has no place for them. */
export function withFigures(page: string, comparisons: readonly Comparison[]): string {
  const [before, rest] = page.split(`${BEGIN}\n`);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`The page needs ${BEGIN} and ${END}, a line each.`);
  return `${before}${BEGIN}\n\n${comparisonTable(comparisons)}\n\n${END}${after}`;
}

const RUSH_PLOT = { from: 12 * 60, to: 22 * 60 };

/** The first minutes of the rush, as SVG. @throws Error if it is not among them. */
export function rushPlot(comparisons: readonly Comparison[]): string {
  const rush = comparisons.find(({ trace }) => trace.name === "rush");
  if (rush === undefined) throw new Error("There is no load of that name.");
  return comparisonPlot(rush, neededReplicas(rush.trace), { ...RUSH_PLOT, label: clock });
}

/** The rush begins a quarter of an hour into its trace, at 8 p.m. */
function clock(second: number): string {
  const minutes = 19 * 60 + 45 + second / 60;
  return `${Math.floor(minutes / 60)}:${String(Math.floor(minutes % 60)).padStart(2, "0")}`;
}
