import { Agent, request } from "node:http";

/** What is to be sent. */
export interface LoadTerms {
  /** "http://127.0.0.1:3000/app"; it answers with its version. */
  url: string;
  /** Short requests, three quarters of them over connections that stay, the rest over new ones. */
  perSecond: number;
  /** Requests that take 5 s. */
  slowPerSecond: number;
  /** WebSockets that live for 6 s and say something twice a second. */
  socketsPerSecond: number;
}

/** What became of one kind of requests. */
export interface LoadClass {
  sent: number;
  lost: number;
}

/** What became of all. */
export interface LoadReport {
  classes: Record<"kept" | "new" | "slow" | "socket", LoadClass>;
  /** How often what was said of those that were lost. */
  reasons: Record<string, number>;
  latency_ms_p50: number;
  latency_ms_p99: number;
  latency_ms_max: number;
}

const terms = JSON.parse(process.argv[2] ?? "{}") as LoadTerms;
const agent = new Agent({ keepAlive: true, maxSockets: 64 });
const classes: LoadReport["classes"] = {
  kept: { sent: 0, lost: 0 },
  new: { sent: 0, lost: 0 },
  slow: { sent: 0, lost: 0 },
  socket: { sent: 0, lost: 0 },
};
const reasons: Record<string, number> = {};
const latencies: number[] = [];
const firsts = new Map<string, number>();
let open = 0;

type Kind = keyof LoadReport["classes"];

function end(kind: Kind, failure: string): void {
  open -= 1;
  if (failure === "") return;
  classes[kind].lost += 1;
  const reason = `${kind}: ${failure}`;
  reasons[reason] = (reasons[reason] ?? 0) + 1;
}

function ask(kind: "kept" | "new" | "slow"): void {
  classes[kind].sent += 1;
  open += 1;
  const began = performance.now();
  let isOver = false;
  const over = (failure: string) => {
    if (isOver) return;
    isOver = true;
    end(kind, failure);
  };
  const url = kind === "slow" ? `${terms.url}?after=5000` : terms.url;
  const outgoing = request(url, { agent: kind === "new" ? false : agent, timeout: 30_000 }, (response) => {
    let body = "";
    response.setEncoding("utf8");
    response.on("data", (text: string) => {
      body += text;
    });
    response.once("error", (error) => over(error.message));
    response.once("end", () => {
      if (kind !== "slow") latencies.push(performance.now() - began);
      if (response.statusCode === 200 && !firsts.has(body)) firsts.set(body, Date.now());
      over(response.statusCode === 200 ? "" : `HTTP ${response.statusCode}`);
    });
  });
  outgoing.once("timeout", () => outgoing.destroy(new Error("no answer within 30 s")));
  outgoing.once("error", (error) => over(error.message));
  outgoing.end();
}

/** Words that a WebSocket says, one each tick, and the ticks that the last echo may take. */
const WORDS = 12;
const PATIENCE_TICKS = 20;

/** A WebSocket that is ended from outside, or of which a word has no echo within 10 s, is lost. */
function openSocket(): void {
  classes.socket.sent += 1;
  open += 1;
  const socket = new WebSocket(terms.url.replace(/^http/, "ws"));
  let said = 0;
  let heard = 0;
  let waited = 0;
  let isOver = false;
  const over = (failure: string) => {
    if (isOver) return;
    isOver = true;
    clearInterval(talk);
    end("socket", failure);
    socket.close();
  };
  const talk = setInterval(() => {
    if (socket.readyState !== WebSocket.OPEN) return;
    if (said === WORDS) {
      waited += 1;
      if (heard === said) over("");
      else if (waited > PATIENCE_TICKS) over("no echo");
      return;
    }
    said += 1;
    socket.send("hello");
  }, 500);
  socket.onmessage = () => {
    heard += 1;
  };
  socket.onerror = () => over("refused or broken");
  socket.onclose = () => over("closed");
}

/** Calls so often in a second, by the clock. */
function every(perSecond: number, send: (nth: number) => void): NodeJS.Timeout {
  const began = performance.now();
  let sent = 0;
  return setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
    for (; sent < due; sent += 1) send(sent);
  }, 5);
}

const timers = [
  every(terms.perSecond, (nth) => ask(nth % 4 === 3 ? "new" : "kept")),
  every(terms.slowPerSecond, () => ask("slow")),
  every(terms.socketsPerSecond, openSocket),
];

process.on("message", async (message: { stop?: true; version?: string }) => {
  if (message.version !== undefined) {
    const at = firsts.get(message.version);
    process.send?.(at === undefined ? {} : { at });
    return;
  }
  for (const timer of timers) clearInterval(timer);
  while (open > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  latencies.sort((a, b) => a - b);
  const quantile = (share: number) => Math.round((latencies[Math.floor(latencies.length * share)] ?? 0) * 10) / 10;
  const report: LoadReport = {
    classes,
    reasons,
    latency_ms_p50: quantile(0.5),
    latency_ms_p99: quantile(0.99),
    latency_ms_max: Math.round(latencies.at(-1) ?? 0),
  };
  process.send?.(report);
});
process.send?.({ ready: true });
