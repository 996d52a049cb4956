import { contenders } from "./contenders.ts";

/** What a client process is asked to do. */
export interface LoadOrder {
  ms: number;
  inFlight: number;
}

/** What it found. */
export interface LoadResult {
  calls: number;
  ms: number;
  p50Us: number;
  p99Us: number;
  /** CPU time of the client process. */
  cpuUs: number;
}

const MOST_SAMPLES = 2_000_000;

async function load(call: () => Promise<unknown>, { ms, inFlight }: LoadOrder): Promise<LoadResult> {
  const samples = new Float64Array(MOST_SAMPLES);
  let calls = 0;
  const cpu = process.cpuUsage();
  const started = performance.now();
  const endAt = started + ms;
  const one = async () => {
    for (let now = performance.now(); now < endAt; ) {
      await call();
      const after = performance.now();
      if (calls < MOST_SAMPLES) samples[calls] = after - now;
      calls += 1;
      now = after;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  const elapsed = performance.now() - started;
  const used = process.cpuUsage(cpu);
  const sorted = samples.subarray(0, Math.min(calls, MOST_SAMPLES)).sort();
  const at = (share: number) => (sorted[Math.floor(sorted.length * share)] ?? 0) * 1000;
  return { calls, ms: elapsed, p50Us: at(0.5), p99Us: at(0.99), cpuUs: used.user + used.system };
}

const [name, path] = process.argv.slice(2) as [string, string];
const call = await contenders[name]?.client(path);
process.on("message", (order: LoadOrder) => {
  if (call) void load(call, order).then((result) => process.send?.(result));
});
process.on("disconnect", () => process.exit());
process.send?.("ready");
