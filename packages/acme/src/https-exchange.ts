import type { IncomingMessage } from "node:http";
import { answerOrEnd, outgoingTo } from "@hms/kernel";
import { AcmeProblem } from "./acme-problem.ts";

/** One request to an authority. */
interface ExchangeRequest {
  readonly method: "GET" | "HEAD" | "POST";
  readonly url: string;
  readonly body?: string;
}

/** What it answered. */
export interface ExchangeAnswer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** Carries requests to an authority. */
export type Exchange = (request: ExchangeRequest) => Promise<ExchangeAnswer>;

/** How an authority is reached. */
export interface ExchangeOptions {
  /** PEM; undefined: the usual authorities. */
  readonly ca: string | undefined;
  readonly userAgent: string;
  readonly signal: AbortSignal;
  /** Default 30 s. */
  readonly timeoutMs?: number;
}

const LARGEST = 1024 * 1024;

/** Requests over TLS that is checked; an answer is at most 1 MiB. Raises AcmeProblem "unreachable". */
export function httpsExchange({ ca, userAgent, signal, timeoutMs = 30_000 }: ExchangeOptions): Exchange {
  return async ({ method, url, body }) => {
    const { request } = process.getBuiltinModule("node:https");
    const late = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    try {
      return await new Promise((resolve, reject) => {
        const asking = request(
          url,
          {
            method,
            agent: false,
            ...outgoingTo(new URL(url).hostname, { by: "operator" }),
            signal: late,
            ...(ca === undefined ? {} : { ca }),
            headers: {
              "user-agent": userAgent,
              ...(body === undefined
                ? {}
                : { "content-type": "application/jose+json", "content-length": Buffer.byteLength(body) }),
            },
          },
          (response) => void readAnswer(response).then(resolve, reject),
        );
        asking.on("error", reject);
        answerOrEnd(asking, reject);
        asking.end(body);
      });
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      const why = late.aborted ? `it did not answer within ${timeoutMs / 1000} s` : (cause as Error).message;
      throw new AcmeProblem("unreachable", `${new URL(url).host} cannot be asked: ${why}`, { cause });
    }
  };
}

async function readAnswer(response: IncomingMessage): Promise<ExchangeAnswer> {
  let text = "";
  for await (const piece of response.setEncoding("utf8")) {
    text += piece;
    if (text.length > LARGEST) throw new Error(`it answered more than ${LARGEST} bytes`);
  }
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}
