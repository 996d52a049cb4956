interface Sample {
  name: string;
  labels: Map<string, string>;
  value: number;
  series: string;
}

interface Family {
  type: string;
  samples: Sample[];
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*"';
const SAMPLE = new RegExp(`^(${NAME})(?:\\{((?:${LABEL}(?:,${LABEL})*)?,?)\\})? (\\S+)(?: -?\\d+)?$`);
const COMMENT = new RegExp(`^# (HELP|TYPE) (${NAME}) (.*)$`);
const TYPES = ["counter", "gauge", "histogram", "summary", "untyped"];

/**
 * What is wrong with a page of metrics, nothing if it is well formed: the Prometheus text format 0.0.4, and of
 * promtool's rules those on names and histograms.
 * Source: prometheus.io/docs/instrumenting/exposition_formats
 */
export function expositionProblems(page: string): string[] {
  const families = new Map<string, Family>();
  const problems = page.endsWith("\n") ? [] : ["the last line does not end"];
  let before: string | undefined;
  for (const line of page.split("\n").filter((each) => each !== "")) {
    const read = readLine(line, families);
    if (read === undefined) {
      problems.push(`not a line of the format: ${line}`);
      continue;
    }
    const known = families.get(read.family);
    if (known && before !== read.family) problems.push(`the lines of ${read.family} are not together`);
    const family = known ?? { type: "", samples: [] };
    families.set(read.family, family);
    problems.push(...addLine(read, family));
    before = read.family;
  }
  return [...problems, ...[...families].flatMap(([name, family]) => familyProblems(name, family))];
}

interface Line {
  family: string;
  type?: string;
  sample?: Sample;
}

function readLine(line: string, families: Map<string, Family>): Line | undefined {
  const [, word, family = "", text = ""] = COMMENT.exec(line) ?? [];
  if (word === "TYPE") return { family, type: text };
  if (word === "HELP") return { family };
  const sample = readSample(line);
  return sample && { family: familyOf(sample.name, families), sample };
}

function addLine({ family: name, type, sample }: Line, family: Family): string[] {
  if (sample) family.samples.push(sample);
  if (type === undefined) return [];
  const isLate = family.samples.length > 0;
  family.type = type;
  return [
    ...(TYPES.includes(type) ? [] : [`${name} has the unknown type ${type}`]),
    ...(isLate ? [`the type of ${name} comes after its values`] : []),
  ];
}

function readSample(line: string): Sample | undefined {
  const [whole, name = "", labelText = "", text = ""] = SAMPLE.exec(line) ?? [];
  const value = text === "+Inf" ? Number.POSITIVE_INFINITY : text === "-Inf" ? Number.NEGATIVE_INFINITY : Number(text);
  if (whole === undefined || (Number.isNaN(value) && text !== "NaN")) return undefined;
  const pairs = [...labelText.matchAll(/([a-zA-Z0-9_]+)="((?:[^"\\]|\\.)*)"/g)];
  const labels = new Map(pairs.map(([, key = "", content = ""]) => [key, content]));
  return { name, labels, value, series: seriesOf(name, labels) };
}

function seriesOf(name: string, labels: Map<string, string>): string {
  return JSON.stringify([name, ...[...labels].sort(([a], [b]) => (a < b ? -1 : 1))]);
}

/** A histogram's values carry suffixes; everything else is its own family. */
function familyOf(name: string, families: Map<string, Family>): string {
  const base = name.replace(/_(?:bucket|sum|count)$/, "");
  return ["histogram", "summary"].includes(families.get(base)?.type ?? "") ? base : name;
}

function familyProblems(name: string, { type, samples }: Family): string[] {
  const problems: string[] = [];
  if (type === "") problems.push(`${name} has no type`);
  const series = samples.map((sample) => sample.series);
  if (new Set(series).size !== series.length) problems.push(`${name} says one series twice`);
  if (type === "counter" && !name.endsWith("_total")) problems.push(`the counter ${name} does not end in _total`);
  if (type === "counter" && samples.some(({ value }) => !(value >= 0))) problems.push(`${name} is below zero`);
  return type === "histogram" ? [...problems, ...histogramProblems(name, samples)] : problems;
}

function histogramProblems(name: string, samples: Sample[]): string[] {
  const groups = Map.groupBy(samples, ({ labels }) =>
    seriesOf(name, new Map([...labels].filter(([key]) => key !== "le"))),
  );
  return [...groups].flatMap(([series, group]) => {
    const only = (suffix: string) => group.filter((sample) => sample.name === `${name}_${suffix}`);
    const buckets = only("bucket").map(({ labels, value }) => ({
      le: Number(labels.get("le")?.replace("+Inf", "Infinity")),
      value,
    }));
    const isCumulative = buckets.every(
      ({ le, value }, index) =>
        index === 0 || (le > (buckets[index - 1]?.le ?? 0) && value >= (buckets[index - 1]?.value ?? 0)),
    );
    const last = buckets.at(-1);
    return [
      ...(isCumulative ? [] : [`the buckets of ${series} do not grow`]),
      ...(last?.le === Number.POSITIVE_INFINITY ? [] : [`${series} has no last bucket`]),
      ...(only("count").length === 1 && only("count")[0]?.value === last?.value ? [] : [`${series} miscounts`]),
      ...(only("sum").length === 1 ? [] : [`${series} has no sum`]),
    ];
  });
}
