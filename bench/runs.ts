import { mkdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { openCelery } from "./runs/celery.ts";
import type { ContenderFolder, RunContender } from "./runs/contender.ts";
import { openHms } from "./runs/hms.ts";
import type { BenchOptions, BenchResult } from "./support/bench.ts";
import { median } from "./support/median.ts";
import { treeCpuSeconds } from "./support/process-cpu.ts";

const OPENERS: Record<string, (folder: ContenderFolder) => Promise<RunContender | null>> = {
  hms: openHms,
  celery: openCelery,
};
const CHAIN = 40;
const FAN = 1000;
const rounded = (value: number) => Number(value.toPrecision(4));

interface Measured {
  version: string;
  figures: Record<string, number>;
}

/** Starts one, warms it up, measures it and ends it: nothing else runs beside it. */
async function measure(name: string, folder: string, quick: boolean): Promise<Measured> {
  mkdirSync(folder);
  const opened = await OPENERS[name]?.({ folder });
  if (!opened) return { version: "not installed, not measured", figures: {} };
  await using contender = opened;
  const jobs = quick ? 3000 : 20_000;
  const rounds = quick ? 1 : 3;
  const several = async (work: () => Promise<number>) => {
    const found: number[] = [];
    for (let n = 0; n < rounds; n += 1) found.push(await work());
    return median(found);
  };
  await contender.drain(quick ? 500 : 2000);
  const usedBefore = treeCpuSeconds(process.pid);
  const drained = await several(() => contender.drain(jobs));
  const cpuSeconds = treeCpuSeconds(process.pid) - usedBefore;
  const latencies = (await contender.startLatencies(quick ? 100 : 500)).sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? Number.NaN;
  const figures: Record<string, number> = {
    jobs_per_s: (jobs / drained) * 1000,
    start_p50_ms: at(0.5),
    start_p95_ms: at(0.95),
    cpu_us_per_job: (cpuSeconds / jobs / rounds) * 1e6,
  };
  if (contender.chain) {
    await contender.chain(CHAIN);
    figures[`chain_${CHAIN}_ms`] = await several(() => contender.chain?.(CHAIN) as Promise<number>);
  }
  if (contender.fanOut) figures[`fan_out_${FAN}_ms`] = await several(() => contender.fanOut?.(FAN) as Promise<number>);
  return { version: contender.version, figures };
}

/**
 * Jobs of one step per second (asked for and drained), from asking to the beginning of the step, a chain of 40 steps, and 1000
 * steps side by side with one after them; ours beside Celery on Redis, one after the other on the same disk. Processor time of
 * a job counts server, broker and workers; of Celery without the program that asks, which is a process of its own.
 */
export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const folder = await mkdtemp(join(tmpdir(), "hms-bench-runs-"));
  const figures: Record<string, number> = { load_before: rounded(loadavg()[0] as number) };
  const versions: Record<string, string> = { node: process.version };
  try {
    for (const name of Object.keys(OPENERS)) {
      const measured = await measure(name, join(folder, name), quick);
      versions[name] = measured.version;
      for (const [key, value] of Object.entries(measured.figures)) {
        figures[name === "hms" ? key : `${name}_${key}`] = rounded(value);
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
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
