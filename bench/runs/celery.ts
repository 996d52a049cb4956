import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { versionOf } from "../support/contender.ts";
import type { ContenderFolder, RunContender } from "./contender.ts";
import { startRedis } from "./redis.ts";

const CELERY = "/usr/bin/celery";
/** Debian's own, which has its Celery. */
const PYTHON = "/usr/bin/python3";
const execute = promisify(execFile);

/** Celery of Debian on Redis: 4 processes, acknowledged late, append-only file synced every second. Null: not installed. */
export async function openCelery({ folder }: ContenderFolder): Promise<RunContender | null> {
  const version = existsSync(CELERY) ? await versionOf(PYTHON, ["-m", "celery", "--version"]) : null;
  const redis = version === null ? null : await startRedis(folder);
  if (!redis) return null;
  const { port } = redis;
  const env = { ...process.env, BENCH_REDIS_PORT: String(port), PYTHONDONTWRITEBYTECODE: "1" };
  const options = [
    "-A",
    "celery_jobs",
    "worker",
    "--pool",
    "prefork",
    "--concurrency",
    "4",
    "--loglevel",
    "INFO",
    "--without-gossip",
    "--without-mingle",
  ];
  const worker = spawn(PYTHON, ["-m", "celery", ...options], {
    cwd: import.meta.dirname,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  const isReady = new Promise<void>((resolve, reject) => {
    for (const stream of [worker.stdout, worker.stderr]) {
      stream.on("data", (data) => {
        said = `${said}${data}`.slice(-20_000);
        if (/ ready\./.test(said)) resolve();
      });
    }
    worker.on("exit", (code) => reject(new Error(`Celery ended with ${code}:\n${said}`)));
  });
  await isReady;
  const ask = async (what: string, count: number) => {
    const { stdout } = await execute(
      PYTHON,
      [`${import.meta.dirname}/celery_jobs.py`, String(port), what, String(count)],
      { env, maxBuffer: 2 ** 24 },
    );
    return stdout.trim().split(" ").map(Number);
  };
  const one = async (what: string, count: number) => (await ask(what, count))[0] as number;
  return {
    version: `${version}; 4 processes, acks late, Redis with appendfsync everysec`,
    drain: (jobs) => one("drain", jobs),
    startLatencies: (jobs) => ask("latency", jobs),
    chain: (steps) => one("chain", steps),
    fanOut: (steps) => one("fan", steps),
    [Symbol.asyncDispose]: async () => {
      const ended = once(worker, "exit");
      worker.kill("SIGTERM");
      const hard = setTimeout(() => worker.kill("SIGKILL"), 5000);
      await ended.catch(() => {});
      clearTimeout(hard);
      await redis.stop();
    },
  };
}
