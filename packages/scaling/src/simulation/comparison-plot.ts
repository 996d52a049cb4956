import type { Comparison } from "./policy-comparison.ts";

const WIDTH = 760;
const ROW = 150;
const LEFT = 48;
const RIGHT = 16;
const TOP = 44;
const BOTTOM = 34;
/** Each can be told from the others on white and on black, and by people who see few colours. */
const COLOURS = ["#0b7285", "#c2410c", "#6d28d9"];

/** The part of a trace that is drawn, in seconds. */
export interface PlotRange {
  from: number;
  to: number;
  /** What a moment is called. */
  label: (second: number) => string;
}

/** Draws how many replicas each policy had beside how many the load needed: one row for each policy, as SVG. */
export function comparisonPlot({ trace, outcomes }: Comparison, needed: readonly number[], range: PlotRange): string {
  const height = TOP + outcomes.length * ROW + BOTTOM;
  const rows = outcomes.map(({ name, outcome }, index) => {
    const frame = { top: TOP + index * ROW, range, most: 11 };
    const facts = `${name}: ${outcome.overloadedSeconds} s overloaded, ${Math.round(outcome.surplusReplicaSeconds / 60)} replica minutes too many`;
    return [
      ...grid(frame),
      `<path d="${steps(needed, frame)} ${close(frame)}" fill="#8b95a1" fill-opacity="0.3"/>`,
      `<path d="${steps(outcome.replicas, frame)}" fill="none" stroke="${COLOURS[index]}" stroke-width="2"/>`,
      `<text x="${LEFT + 6}" y="${frame.top + 16}" fill="${COLOURS[index]}" font-weight="600">${facts}</text>`,
    ].join("\n");
  });
  const title = `Replicas in the ${trace.name}: lines are what each policy ran, the grey area is what the load needed`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="${title}">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="24" font-size="14" fill="#1f2933">${title}</text>`,
    ...rows,
    times({ range, height }),
    "</svg>",
    "",
  ].join("\n");
}

interface Frame {
  top: number;
  range: PlotRange;
  most: number;
}

const place = (value: number) => Number(value.toFixed(1));

function across({ from, to }: PlotRange, second: number): number {
  return place(LEFT + ((second - from) / (to - from)) * (WIDTH - LEFT - RIGHT));
}

const down = ({ top, most }: Frame, count: number) => place(top + ROW - 10 - (count / most) * (ROW - 30));

/** A line that holds each number until it changes. */
function steps(values: readonly number[], frame: Frame): string {
  const { range } = frame;
  let path = `M${across(range, range.from)} ${down(frame, values[range.from] ?? 0)}`;
  for (let second = range.from + 1; second < range.to; second += 1) {
    if (values[second] === values[second - 1]) continue;
    path += `H${across(range, second)}V${down(frame, values[second] ?? 0)}`;
  }
  return `${path}H${across(range, range.to)}`;
}

const close = (frame: Frame) => `V${down(frame, 0)}H${across(frame.range, frame.range.from)}Z`;

function grid(frame: Frame): string[] {
  return [0, 5, 10].map((count) => {
    const y = down(frame, count);
    return `<path d="M${LEFT} ${y}H${WIDTH - RIGHT}" stroke="#d5dbe1"/><text x="${LEFT - 8}" y="${y + 4}" text-anchor="end" fill="#52606d">${count}</text>`;
  });
}

const MARKS = 5;

function times({ range, height }: { range: PlotRange; height: number }): string {
  const marks = Array.from({ length: MARKS + 1 }, (_, index) => range.from + (index * (range.to - range.from)) / MARKS);
  return marks
    .map((second) => {
      const anchor = second === range.to ? "end" : "middle";
      return `<text x="${across(range, second)}" y="${height - 12}" text-anchor="${anchor}" fill="#52606d">${range.label(second)}</text>`;
    })
    .join("\n");
}
