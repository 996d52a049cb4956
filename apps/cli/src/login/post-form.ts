import { request } from "node:http";
import { request as secureRequest } from "node:https";
import { HmsError } from "@hms/kernel/errors";

const PATIENCE_MS = 15_000;

/** What the token endpoint and its neighbours answer. */
export type OAuthAnswer = Readonly<Record<string, unknown>> & { readonly error?: string };

/**
 * Sends a form to an OAuth endpoint. Every name below "localhost" is this machine (RFC 6761), whatever its resolver says.
 * @throws HmsError UNAVAILABLE if nobody answers, or not in JSON.
 */
export function postForm(url: URL, form: Record<string, string>, signal: AbortSignal): Promise<OAuthAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<OAuthAnswer>();
  const fail = (cause: Error) =>
    reject(new HmsError("UNAVAILABLE", `${url.origin} does not answer: ${cause.message}.`, { cause }));
  const isLocal = url.hostname === "localhost" || url.hostname.endsWith(".localhost");
  const options = {
    method: "POST",
    signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]),
    headers: { "content-type": "application/x-www-form-urlencoded", host: url.host },
    ...(isLocal ? { hostname: "127.0.0.1" } : {}),
  };
  const sent = (url.protocol === "https:" ? secureRequest : request)(url, options, (response) => {
    const pieces: Buffer[] = [];
    response.on("data", (piece: Buffer) => pieces.push(piece)).on("error", fail);
    response.on("end", () => {
      const text = Buffer.concat(pieces).toString();
      try {
        resolve(text === "" ? {} : (JSON.parse(text) as OAuthAnswer));
      } catch {
        fail(new Error(`status ${response.statusCode}, and no JSON`));
      }
    });
  });
  sent.on("error", fail).end(new URLSearchParams(form).toString());
  return promise;
}
