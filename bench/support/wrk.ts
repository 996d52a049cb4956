import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** What one run of wrk found. */
export interface WrkRun {
  requests: number;
  requestsPerSecond: number;
  /** Answers other than 2xx and 3xx, and socket errors. */
  failures: number;
  p50Ms: number;
  p99Ms: number;
}

/** How wrk is run. */
export interface WrkOptions {
  port: number;
  connections: number;
  seconds: number;
  /** A Lua script. */
  script?: string;
  scriptArgs?: readonly string[];
}

/** Where Debian installs wrk. */
export const WRK = "/usr/bin/wrk";

/** Loads 127.0.0.1 with keep-alive connections from one thread. */
export async function runWrk(options: WrkOptions): Promise<WrkRun> {
  const { port, connections, seconds, script, scriptArgs = [] } = options;
  const scripted = script === undefined ? [] : ["-s", script];
  const args = ["-t1", `-c${connections}`, `-d${seconds}`, "--latency", ...scripted, `http://127.0.0.1:${port}/`];
  const { stdout } = await promisify(execFile)(WRK, [...args, ...(script ? ["--", ...scriptArgs] : [])]);
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? 0);
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout)?.slice(1) ?? [];
  return {
    requests: number(/(\d+) requests in/),
    requestsPerSecond: number(/Requests\/sec:\s+([\d.]+)/),
    failures: errors.reduce((sum, count) => sum + Number(count), number(/Non-2xx or 3xx responses: (\d+)/)),
    p50Ms: milliseconds(/50%\s+([\d.]+)(us|ms|s)/.exec(stdout)),
    p99Ms: milliseconds(/99%\s+([\d.]+)(us|ms|s)/.exec(stdout)),
  };
}

function milliseconds(match: RegExpExecArray | null): number {
  const scale = { us: 0.001, ms: 1, s: 1000 }[match?.[2] ?? "ms"] ?? 1;
  return Number(match?.[1] ?? Number.NaN) * scale;
}
