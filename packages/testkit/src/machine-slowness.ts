import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
/** An idle machine of two cores starts a bare Node in less than this. */
const IDLE_START_MS = 60;
const SAMPLES = 3;

/**
 * How many times slower than an idle machine this one is at the moment, at least 1: what a time limit is multiplied with
 * that is promised for a machine which has nothing else to do. It starts a bare Node three times, which takes 0.2 s.
 */
export async function machineSlowness(): Promise<number> {
  const tookMs: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const began = performance.now();
    await run(process.execPath, ["-e", "0"]);
    tookMs.push(performance.now() - began);
  }
  return Math.max(1, ...tookMs.map((ms) => ms / IDLE_START_MS));
}
