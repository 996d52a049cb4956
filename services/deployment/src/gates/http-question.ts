import { type ClientRequest, type RequestOptions, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { answerOrEnd } from "@hms/kernel";

/** An answer, read as far as it matters. */
export interface HttpAnswer {
  readonly status: number;
  /** At most 16 KiB of the body. */
  readonly body: string;
}

const MOST_BYTES = 16 << 10;

/**
 * Asks once, on a connection of its own; follows no redirect. The time counts until the body has ended.
 * @throws Error what the network or the time limit ended it with
 */
export function askHttp(
  url: string,
  options: RequestOptions & { timeoutMs: number; content?: string },
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const { timeoutMs, content, ...rest } = options;
  const start = url.startsWith("https:") ? requestHttps : requestHttp;
  const late = AbortSignal.timeout(timeoutMs);
  return new Promise((resolve, reject) => {
    const outgoing: ClientRequest = start(url, { ...rest, agent: false, signal: AbortSignal.any([signal, late]) });
    outgoing.once("error", (error) => reject(late.aborted ? new Error(`no answer within ${timeoutMs} ms`) : error));
    answerOrEnd(outgoing, reject);
    outgoing.once("response", (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      const end = () => {
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8", 0, MOST_BYTES) });
        outgoing.destroy();
      };
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        if (size >= MOST_BYTES) end();
      });
      response.once("end", end);
      response.once("error", (error) => reject(late.aborted ? new Error(`no answer within ${timeoutMs} ms`) : error));
    });
    outgoing.end(content);
  });
}
