import { networkOfAddress, outgoingTo } from "@hms/kernel";
import { askHttp, type HttpAnswer } from "./http-question.ts";

/** A message to whoever a web-hook belongs to. */
export interface WebhookPost {
  readonly url: string;
  /** Sent as JSON. */
  readonly content: object;
  /** What sends it, "gate". */
  readonly agent: string;
  readonly timeoutMs: number;
}

/**
 * Posts JSON to an address that a manifest names: never where the operator does not let the platform go, or into a network where no service is (link-local, metadata), whatever its
 * name resolves to, and without following a redirect.
 * @throws Error what the network, the time limit or the signal ended it with
 */
export async function postWebhook(post: WebhookPost, signal: AbortSignal): Promise<HttpAnswer> {
  const { url, agent, timeoutMs } = post;
  // Names are looked at when they are connected to.
  if (networkOfAddress(new URL(url).hostname) === "special") {
    throw new Error("its address is in a network where no service is (link-local, metadata)");
  }
  const content = JSON.stringify(post.content);
  const headers = {
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(content)),
    "user-agent": `hms-sys-${agent}`,
  };
  const outgoing = outgoingTo(new URL(url).hostname);
  return await askHttp(url, { method: "POST", headers, content, timeoutMs, ...outgoing }, signal);
}
