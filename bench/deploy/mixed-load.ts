import { fork } from "node:child_process";
import { once } from "node:events";
import type { LoadClass, LoadReport, LoadTerms } from "./load-host.ts";

export type { LoadReport } from "./load-host.ts";

/** A load of several kinds of requests, in a process of its own. */
export interface MixedLoad extends AsyncDisposable {
  /** When a version answered first, in milliseconds since 1970; undefined if it has not. */
  firstAnswer(version: string): Promise<number | undefined>;
  /** Sends nothing more, waits for what runs, and says what became of it all. */
  stop(): Promise<LoadReport>;
}

/** Starts the load: so many requests in a second, at fixed times, however long the answers take. */
export async function startMixedLoad(terms: LoadTerms): Promise<MixedLoad> {
  const child = fork(new URL("./load-host.ts", import.meta.url), [JSON.stringify(terms)], { stdio: "inherit" });
  const ask = async <T>(message: object): Promise<T> => {
    child.send(message);
    const [answer] = (await once(child, "message")) as [T];
    return answer;
  };
  await once(child, "message");
  const stop = async () => {
    const report = await ask<LoadReport>({ stop: true });
    child.kill();
    return report;
  };
  return {
    firstAnswer: async (version) => (await ask<{ at?: number }>({ version })).at,
    stop,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill();
    },
  };
}

/** All that were lost, of every kind. */
export function lost(report: LoadReport): number {
  return Object.values(report.classes).reduce((sum, each: LoadClass) => sum + each.lost, 0);
}
