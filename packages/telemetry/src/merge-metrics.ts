import { metricFamily, metricSample } from "./prometheus-text.ts";

/** What a process with parts of the platform has counted; undefined: it does not say. */
export interface PartMetrics {
  /** Its parts, "deployment+mesh". */
  readonly part: string;
  readonly text: string | undefined;
}

interface Family {
  /** HELP and TYPE. */
  readonly head: string[];
  readonly samples: string[];
}

/**
 * One page of metrics, in Prometheus text format 0.0.4, of several: what parts have counted has the label `part`, and
 * `hms_ffi_part_up` says whether each of them has answered.
 */
export function mergeMetrics(own: string, parts: readonly PartMetrics[]): string {
  if (parts.length === 0) return own;
  const families = new Map<string, Family>();
  read(own, families, undefined);
  for (const { part, text = "" } of parts) read(text, families, part);
  const up = "hms_ffi_part_up";
  const head = metricFamily(
    `${up} gauge Whether a part of the platform in a process of its own has said what it counts.`,
  );
  const samples = parts.map(({ part, text }) => metricSample(up, { part }, text === undefined ? 0 : 1));
  families.set(up, { head, samples });
  return [...families.values()].flatMap((family) => [...family.head, ...family.samples]).join("");
}

function read(page: string, families: Map<string, Family>, part: string | undefined): void {
  let family: Family | undefined;
  for (const line of page.split("\n")) {
    if (line === "") continue;
    if (!line.startsWith("#")) family?.samples.push(`${part === undefined ? line : labelled(line, part)}\n`);
    else {
      const [, , name = ""] = line.split(" ", 3);
      const known = families.get(name);
      family = known ?? { head: [], samples: [] };
      families.set(name, family);
      if (!family.head.includes(`${line}\n`) && family.samples.length === 0) family.head.push(`${line}\n`);
    }
  }
}

/** A sample with one label more; part names need no quoting. */
function labelled(sample: string, part: string): string {
  const brace = sample.indexOf("{");
  const blank = sample.indexOf(" ");
  if (brace >= 0 && brace < blank) return `${sample.slice(0, brace)}{part="${part}",${sample.slice(brace + 1)}`;
  return `${sample.slice(0, blank)}{part="${part}"}${sample.slice(blank)}`;
}
