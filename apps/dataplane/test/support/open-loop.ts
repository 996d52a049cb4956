import { Agent, request } from "node:http";

/** One request of a load and how it ended. */
export interface Shot {
  sentAt: number;
  endedAt: number;
  /** The body of a 200, or why there is none. */
  outcome: string;
  ok: boolean;
}

/** A load at fixed times, however long answers take; nothing is tried again. */
export interface OpenLoop {
  readonly shots: readonly Shot[];
  /** How many were answered. */
  readonly answered: number;
  /** Sends nothing more and waits for what is under way. */
  stop(): Promise<Shot[]>;
}

/** Starts a load; `keepAlive` reuses up to 16 connections, otherwise each request brings its own. */
export function startOpenLoop(url: string, perSecond: number, keepAlive: boolean): OpenLoop {
  const agent = new Agent({ keepAlive, maxSockets: keepAlive ? 16 : Number.POSITIVE_INFINITY });
  const shots: Shot[] = [];
  const running = new Set<Promise<void>>();
  const began = performance.now();
  let answered = 0;
  const fire = () =>
    new Promise<void>((done) => {
      const shot: Shot = { sentAt: performance.now(), endedAt: Number.POSITIVE_INFINITY, outcome: "", ok: false };
      shots.push(shot);
      const end = (ok: boolean, outcome: string) => {
        Object.assign(shot, { endedAt: performance.now(), ok, outcome });
        if (ok) answered += 1;
        done();
      };
      request(url, { agent }, (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text) => {
          body += text;
        });
        response.once("end", () => end(response.statusCode === 200, body));
        response.once("error", (error) => end(false, error.message));
      })
        .once("error", (error: NodeJS.ErrnoException) => end(false, error.code ?? error.message))
        .end();
    });
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
    while (shots.length < due) {
      const one = fire().finally(() => running.delete(one));
      running.add(one);
    }
  }, 2);
  return {
    shots,
    get answered() {
      return answered;
    },
    async stop() {
      clearInterval(timer);
      await Promise.all(running);
      agent.destroy();
      return shots;
    },
  };
}

/** Those that were not answered as they should be. */
export function lost(shots: readonly Shot[]): Shot[] {
  return shots.filter(({ ok }) => !ok);
}
