import { mkdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { openBullMq } from "./runs/bullmq.ts";
import { openCelery } from "./runs/celery.ts";
import type { ContenderFolder, RunContender } from "./runs/contender.ts";
import { openDbos } from "./runs/dbos.ts";
import { openGraphile } from "./runs/graphile.ts";
import { openHms } from "./runs/hms.ts";
import type { BenchOptions, BenchResult } from "./support/bench.ts";
import { median } from "./support/median.ts";
import { treeCpuSeconds } from "./support/process-cpu.ts";

const OPENERS: Record<string, (folder: ContenderFolder) => Promise<RunContender | null>> = {
  hms: openHms,
  celery: openCelery,
  bullmq: openBullMq,
  graphile: openGraphile,
  dbos: openDbos,
};
const TURNS = 3;
const CHAIN = 40;
const FAN = 1000;
const rounded = (value: number) => Number(value.toPrecision(4));

interface Measured {
  version: string;
  figures: Record<string, number>;
}

/** Starts one, warms it up, measures it once and ends it: nothing else runs beside it. */
async function measure(name: string, folder: string, quick: boolean): Promise<Measured> {
  mkdirSync(folder);
  const opened = await OPENERS[name]?.({ folder });
  if (!opened) return { version: "not installed, not measured", figures: {} };
  await using contender = opened;
  const jobs = quick ? 3000 : 10_000;
  await contender.drain(quick ? 1000 : 2000);
  const usedBefore = treeCpuSeconds(process.pid);
  const drained = await contender.drain(jobs);
  const cpuSeconds = treeCpuSeconds(process.pid) - usedBefore;
  const latencies = (await contender.startLatencies(quick ? 100 : 300)).sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? Number.NaN;
  const figures: Record<string, number> = {
    jobs_per_s: (jobs / drained) * 1000,
    start_p50_ms: at(0.5),
    start_p95_ms: at(0.95),
    cpu_us_per_job: (cpuSeconds / jobs) * 1e6,
  };
  const third = async (work: () => Promise<number>) => median([await work(), await work(), await work()]);
  if (contender.chain) figures[`chain_${CHAIN}_ms`] = await third(() => contender.chain?.(CHAIN) as Promise<number>);
  if (contender.fanOut) figures[`fan_out_${FAN}_ms`] = await contender.fanOut(FAN);
  if (contender.recovery) figures.recovery_s = (await contender.recovery()) / 1000;
  return { version: contender.version, figures };
}

/**
 * Jobs of one step per second (asked for and drained), from asking to the beginning of the step, a chain of 40 steps, 1000
 * steps side by side with one after them, and the time until the steps of a killed worker run elsewhere. All contenders in
 * turns, each alone, on the same disk; the figures are medians of the turns. Processor time of a job counts server, broker and
 * workers; of Celery without the program that asks, which is a process of its own.
 */
export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const folder = await mkdtemp(join(tmpdir(), "hms-bench-runs-"));
  const versions: Record<string, string> = { node: process.version };
  const found: Record<string, number[]> = {};
  const note = (key: string, value: number) => {
    found[key] = [...(found[key] ?? []), value];
  };
  try {
    for (let turn = 0; turn < (quick ? 1 : TURNS); turn += 1) {
      for (const name of Object.keys(OPENERS)) {
        note("load_before", loadavg()[0] as number);
        const measured = await measure(name, join(folder, `${name}-${turn}`), quick);
        versions[name] = measured.version;
        for (const [key, value] of Object.entries(measured.figures))
          note(name === "hms" ? key : `${name}_${key}`, value);
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const figures = Object.fromEntries(Object.entries(found).map(([key, values]) => [key, rounded(median(values))]));
  return { figures, ratios: ratiosOf(figures), versions };
}

function ratiosOf(figures: Record<string, number>): Record<string, number> {
  const ratios: Record<string, number> = {};
  for (const rival of Object.keys(OPENERS).filter((name) => name !== "hms")) {
    for (const metric of Object.keys(figures)) {
      const [ours, theirs] = [figures[metric], figures[`${rival}_${metric}`]];
      if (ours !== undefined && theirs !== undefined) ratios[`${metric}_vs_${rival}`] = rounded(ours / theirs);
    }
  }
  return ratios;
}
