import { Agent, request } from "node:http";

/** One request of a load and how it ended. */
export interface LoadRecord {
  /** When it should have been sent and was, in `performance.now()` milliseconds. */
  startedAt: number;
  endedAt: number;
  /** 0 if no answer came. */
  status: number;
  body: string;
  error: string;
}

/** What a load is made of. */
export interface LoadOptions {
  url: string;
  method?: "GET" | "POST";
  body?: string;
  perSecond: number;
  /** Default 32. */
  connections?: number;
}

/** A load that goes on until it is stopped: requests at fixed times, however long the answers take. */
export interface Load extends AsyncDisposable {
  readonly records: readonly LoadRecord[];
  /** Sends nothing more and waits for what is under way. */
  stop(): Promise<readonly LoadRecord[]>;
}

/**
 * Starts an open-loop load over keep-alive connections. Every request is sent once: one whose connection turns out
 * dead counts as a failure, though most HTTP clients would send it again (RFC 9112 §9.5).
 */
export function startLoad(options: LoadOptions): Load {
  const { url, method = "GET", body, perSecond, connections = 32 } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const records: LoadRecord[] = [];
  const running = new Set<Promise<void>>();
  const began = performance.now();
  let sent = 0;

  const send = (record: LoadRecord): Promise<void> =>
    new Promise((done) => {
      const headers =
        body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
      const outgoing = request(url, { method, agent, headers }, (response) => {
        response.setEncoding("utf8");
        response.on("data", (text) => {
          record.body += text;
        });
        const end = (error: string) => {
          Object.assign(record, { endedAt: performance.now(), status: response.statusCode ?? 0, error });
          done();
        };
        response.once("end", () => end(""));
        response.once("error", (error) => end(error.message));
      });
      outgoing.once("error", (error) => {
        if (record.status !== 0) return;
        Object.assign(record, { endedAt: performance.now(), error: error.message });
        done();
      });
      outgoing.end(body);
    });

  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
    for (; sent < due; sent += 1) {
      const record = {
        startedAt: performance.now(),
        endedAt: Number.POSITIVE_INFINITY,
        status: 0,
        body: "",
        error: "",
      };
      records.push(record);
      const one = send(record).finally(() => running.delete(one));
      running.add(one);
    }
  }, 2);

  const stop = async () => {
    clearInterval(timer);
    await Promise.all(running);
    agent.destroy();
    return records;
  };
  return {
    records,
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop();
    },
  };
}

/** The requests that did not end with the status 200. */
export function failures(records: readonly LoadRecord[]): LoadRecord[] {
  return records.filter(({ status, error }) => status !== 200 || error !== "");
}
