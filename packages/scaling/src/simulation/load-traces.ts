import { randomOf } from "./random.ts";
import { launchDay } from "./recorded-loads.ts";

/** What comes to a service: requests in each second, from its first second on. */
export interface LoadTrace {
  readonly name: string;
  /** What it is, in a sentence. */
  readonly description: string;
  readonly requests: readonly number[];
}

const MINUTE = 60;
const HOUR = 3600;
const NOISE = 0.05;

/** A trace from a course over time, with noise of 5 % that is the same each time. */
function traceOf(
  name: string,
  description: string,
  { seconds, at }: { seconds: number; at: (second: number) => number },
): LoadTrace {
  const random = randomOf(seconds);
  const requests = Array.from({ length: seconds }, (_, second) =>
    Math.max(0, at(second) * (1 + NOISE * (2 * random() - 1))),
  );
  return { name, description, requests };
}

/** From one value to another between two moments. */
function between(second: number, [from, to]: [number, number], [low, high]: [number, number]): number {
  const share = Math.min(1, Math.max(0, (second - from) / (to - from)));
  return low + share * (high - low);
}

const step = traceOf("step", "100 requests a second, from one second to the next 500, for 10 minutes", {
  seconds: 20 * MINUTE,
  at: (second) => (second >= 5 * MINUTE && second < 15 * MINUTE ? 500 : 100),
});

const ramp = traceOf("ramp", "from 100 to 600 requests a second within 10 minutes, and back", {
  seconds: 30 * MINUTE,
  at: (second) =>
    Math.min(
      between(second, [5 * MINUTE, 15 * MINUTE], [100, 600]),
      between(second, [15 * MINUTE, 25 * MINUTE], [600, 100]),
    ),
});

const day = traceOf("day", "a day: 60 requests a second at night, 500 at its height, as a sine", {
  seconds: 24 * HOUR,
  at: (second) => 280 - 220 * Math.cos((2 * Math.PI * (second - 4 * HOUR)) / (24 * HOUR)),
});

const spike = traceOf("spike", "100 requests a second, and 600 for 30 seconds", {
  seconds: 15 * MINUTE,
  at: (second) => (second >= 5 * MINUTE && second < 5 * MINUTE + 30 ? 600 : 100),
});

const RUSH_BEGIN = 15 * MINUTE;
const RUSH_FULL = RUSH_BEGIN + 45;
const RUSH_END = RUSH_BEGIN + 35 * MINUTE;

const rush = traceOf(
  "rush",
  "the evening of a deadline: 110 requests a second, at 8 p.m. within 45 seconds 640, for 35 minutes, then falling",
  {
    seconds: 80 * MINUTE,
    at: (second) =>
      Math.min(
        between(second, [RUSH_BEGIN, RUSH_FULL], [110, 640]),
        between(second, [RUSH_END, RUSH_END + 12 * MINUTE], [640, 90]),
      ),
  },
);

/** How many requests of a service of today one of a recorded load stands for. */
const TIMES = 80;

const launch = traceOf(
  "launch",
  "recorded: eight hours of the Kennedy Space Center's web server around a launch in 1995, each request taken 80 times",
  {
    seconds: launchDay.length * MINUTE,
    at: (second) => ((launchDay[Math.floor(second / MINUTE)] ?? 0) / MINUTE) * TIMES,
  },
);

/** The loads that policies are compared under. */
export const loadTraces: readonly LoadTrace[] = [step, ramp, day, spike, rush, launch];
