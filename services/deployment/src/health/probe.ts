import { request } from "node:http";
import { connect } from "node:net";

/** What one look at a replica found. */
export interface ProbeResult {
  ok: boolean;
  /** "HTTP 503 Service Unavailable: not ready", "connect ECONNREFUSED 127.0.0.1:20001". */
  answer: string;
}

/** Where and how to look. */
export interface ProbeTarget {
  host: string;
  port: number;
  /** A path: any 2xx or 3xx is well. Undefined: a connection is. */
  http: string | undefined;
  timeoutMs: number;
}

const LONGEST_ANSWER = 200;

/** Looks once, on a connection of its own; never throws. */
export function probe(target: ProbeTarget): Promise<ProbeResult> {
  return target.http === undefined ? probeTcp(target) : probeHttp(target, target.http);
}

function probeTcp({ host, port, timeoutMs }: ProbeTarget): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (result: ProbeResult) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(
      () => end({ ok: false, answer: `no connection to ${host}:${port} within ${timeoutMs} ms` }),
      timeoutMs,
    );
    socket.once("connect", () => end({ ok: true, answer: `accepts connections on port ${port}` }));
    socket.once("error", (error) => end({ ok: false, answer: error.message }));
  });
}

function probeHttp({ host, port, timeoutMs }: ProbeTarget, path: string): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const headers = { host: `${host}:${port}`, "user-agent": "hms-sys-health", connection: "close" };
    const outgoing = request({ host, port, path, headers, agent: false });
    const end = (result: ProbeResult) => {
      clearTimeout(timer);
      outgoing.destroy();
      resolve(result);
    };
    const timer = setTimeout(
      () => end({ ok: false, answer: `no answer to GET ${path} within ${timeoutMs} ms` }),
      timeoutMs,
    );
    outgoing.once("error", (error) => end({ ok: false, answer: error.message }));
    outgoing.once("response", (response) => {
      const { statusCode: status = 0, statusMessage = "" } = response;
      if (status >= 200 && status < 400) return end({ ok: true, answer: `HTTP ${status}` });
      let body = "";
      const finish = () =>
        end({ ok: false, answer: `HTTP ${status} ${statusMessage}${body && `: ${body.slice(0, LONGEST_ANSWER)}`}` });
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        body += text;
        if (body.length > LONGEST_ANSWER) finish();
      });
      response.once("end", finish);
      response.once("error", finish);
    });
    outgoing.end();
  });
}
