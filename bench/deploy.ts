import { echoService } from "../test/system/echo-service.ts";
import { failures, startLoad } from "../test/system/open-loop-load.ts";
import { startPlatform } from "../test/system/platform.ts";

const PER_SECOND = 500;

/** Deploys under constant open-loop load: requests lost, and the time from the command to the new version's first answer. */
export async function run({ quick }: { quick: boolean }) {
  await using platform = await startPlatform();
  const deploy = async (version: string) => {
    const { code, stderr } = await platform.cli("deploy", echoService(platform, { version }));
    if (code !== 0) throw new Error(`deploy of ${version} exited ${code}: ${stderr}`);
  };
  await deploy("0");
  const load = startLoad({ url: platform.url("/echo-svc"), method: "POST", body: "{}", perSecond: PER_SECOND });
  const untilServing: number[] = [];
  const commands: number[] = [];
  for (let turn = 1; turn <= (quick ? 5 : 20); turn += 1) {
    const began = performance.now();
    await deploy(`${turn}`);
    commands.push(performance.now() - began);
    const first = load.records.find(
      ({ startedAt, body }) => startedAt >= began && body.includes(`"version":"${turn}"`),
    );
    if (first) untilServing.push(first.endedAt - began);
  }
  const records = await load.stop();
  const middle = (values: number[]) => Math.round(values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0);
  const latencies = records.map(({ startedAt, endedAt }) => endedAt - startedAt).sort((a, b) => a - b);
  return {
    figures: {
      deploys: commands.length,
      requests: records.length,
      requests_lost: failures(records).length,
      command_to_serving_ms_p50: middle(untilServing),
      command_ms_p50: middle(commands),
      latency_ms_p50: Math.round((latencies[Math.floor(latencies.length * 0.5)] ?? 0) * 10) / 10,
      latency_ms_p99: Math.round((latencies[Math.floor(latencies.length * 0.99)] ?? 0) * 10) / 10,
    },
    ratios: {},
    versions: { node: process.version },
  };
}
