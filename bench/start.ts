import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { startPlatform } from "../test/system/platform.ts";

const examples = ["receipt/receipt.hms.yml", "payment/payment.hms.yml"].map((file) =>
  resolve(import.meta.dirname, "../examples", file),
);

/** Sum of the proportional set sizes of these processes, in MiB: shared pages are counted once. */
function proportionalSetSize(pids: readonly number[]): number {
  const kib = pids.map((pid) =>
    Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0),
  );
  return kib.reduce((sum, one) => sum + one, 0) / 1024;
}

const rounded = (mib: number) => Math.round(mib * 10) / 10;

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text.split(" ").filter(Boolean).map(Number);
}

/** Warm start of the platform with two services, and what its own processes hold in memory. */
export async function run({ quick }: { quick: boolean }) {
  await using platform = await startPlatform({ args: ["--deploy", examples.join(",")] });
  const starts: number[] = [];
  for (let turn = 0; turn < (quick ? 3 : 10); turn += 1) {
    await platform.stop();
    const began = performance.now();
    await platform.start();
    starts.push(performance.now() - began);
  }
  const processes: Record<string, number> = { up_pss_mib: rounded(proportionalSetSize([platform.up.pid ?? 0])) };
  for (const name of ["agent", "server", "dataplane", "postgres"]) {
    const pid = await platform.pidOf(name);
    const all = name === "postgres" ? [pid, ...childrenOf(pid)] : [pid];
    processes[`${name}_pss_mib`] = rounded(proportionalSetSize(all));
  }
  starts.sort((a, b) => a - b);
  return {
    figures: {
      warm_start_ms_p50: Math.round(starts[Math.floor(starts.length / 2)] ?? 0),
      warm_start_ms_max: Math.round(starts.at(-1) ?? 0),
      ...processes,
      pss_mib: Math.round(Object.values(processes).reduce((sum, one) => sum + one, 0)),
    },
    ratios: {},
    versions: { node: process.version },
  };
}
