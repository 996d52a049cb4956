import type { LoadSample, Recommendation, ScalingPolicy } from "./scaling-policy.ts";

const EVERY_MS = 15_000;
const BUSY = 0.7;
const IDLE = 0.3;

/** Each 15 s one replica more above 70 % of the processor time, one fewer below 30 %; what it does not know, it leaves. */
export class CpuPolicy implements ScalingPolicy {
  #decidedAt: number | undefined;

  recommend({ atMs, cpu, replicas }: LoadSample): Recommendation {
    this.#decidedAt ??= atMs;
    const figures = cpu === undefined ? {} : { cpu };
    if (cpu === undefined)
      return { replicas, figures, why: "it is not known how much processor time the replicas use" };
    const said = `the replicas use ${Math.round(cpu * 100)} % of their processor time`;
    if (cpu >= IDLE && cpu <= BUSY) return { replicas, figures, why: `${said}, which is between 30 % and 70 %` };
    const step = cpu > BUSY ? 1 : -1;
    const rule = step === 1 ? "one more each 15 s above 70 %" : "one fewer each 15 s below 30 %";
    if (atMs - this.#decidedAt < EVERY_MS) return { replicas, figures, why: `${said}; ${rule}, and 15 s are not over` };
    this.#decidedAt = atMs;
    return { replicas: Math.max(0, replicas + step), figures, why: `${said}: ${rule}` };
  }
}
