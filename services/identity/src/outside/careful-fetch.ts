import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { answerOrEnd, outgoingTo } from "@hms/kernel";
import type { CustomFetch } from "openid-client";
import { isSafeAddress } from "../oidc/safe-address.ts";

/** What a provider answers: documents, keys, tokens. */
const MOST_BYTES = 1 << 20;
const NO_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/**
 * Asks a provider; where its document leads is its own business only as far as providers may be: never to special networks,
 * by no name either. It follows no redirect, and reads a MiB at most.
 * @throws TypeError for an address where no provider may be, and where none answers
 */
export const carefulFetch: CustomFetch = async (url, { method, headers, body, signal }) => {
  if (!isSafeAddress(url)) throw new TypeError(`the provider leads to ${url.slice(0, 100)}, where no provider may be`);
  const content =
    body === undefined || body === null
      ? ""
      : await new Response(body as ConstructorParameters<typeof Response>[0]).text();
  const start = url.startsWith("https:") ? requestHttps : requestHttp;
  return new Promise<Response>((resolve, reject) => {
    const length = { "content-length": String(Buffer.byteLength(content)) };
    const asked = start(url, {
      method,
      headers: method === "GET" ? headers : { ...headers, ...length },
      ...outgoingTo(new URL(url).hostname),
      agent: false,
      ...(signal && { signal }),
    });
    asked.once("error", reject);
    answerOrEnd(asked, reject);
    asked.once("response", async (answer) => {
      try {
        const chunks: Buffer[] = [];
        let size = 0;
        for await (const chunk of answer as AsyncIterable<Buffer>) {
          size += chunk.length;
          if (size > MOST_BYTES) throw new TypeError(`the provider's answer is longer than ${MOST_BYTES} bytes`);
          chunks.push(chunk);
        }
        const status = answer.statusCode ?? 0;
        const fields = Object.entries(answer.headersDistinct).flatMap(([name, values]) =>
          (values ?? []).map((value): [string, string] => [name, value]),
        );
        resolve(new Response(NO_BODY.has(status) ? null : Buffer.concat(chunks), { status, headers: fields }));
      } catch (error) {
        asked.destroy();
        reject(error);
      }
    });
    asked.end(content);
  });
};
