import { networkOfAddress, outgoingTo } from "@hms/kernel";
import type { WebhookQuestion } from "./gate.ts";
import { readGveAnswer } from "./gve-answer.ts";
import { askHttp } from "./http-question.ts";
import type { Look } from "./look.ts";

/** What a web-hook is told. */
export interface TriedVersion {
  readonly environment: string;
  readonly service: string;
  readonly rolloutId: string;
  readonly revision: number;
  readonly previousRevision: number;
  readonly version: string;
  /** Per cent of the requests that the new version gets. */
  readonly share: number;
  readonly gate: string;
}

/** Asks whoever a web-hook belongs to. Never throws, but when the signal aborts. */
export async function askWebhook(
  { url }: WebhookQuestion,
  tried: TriedVersion,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<Look> {
  // Names are looked at when they are connected to.
  if (networkOfAddress(new URL(url).hostname) === "special") {
    return { verdict: "fail", words: "its address is in a network where no service is (link-local, metadata)" };
  }
  const content = JSON.stringify(tried);
  const headers = {
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(content)),
    "user-agent": "hms-sys-gate",
  };
  try {
    const options = { method: "POST", headers, content, timeoutMs, ...outgoingTo(new URL(url).hostname) };
    const { status, body } = await askHttp(url, options, signal);
    const words = `HTTP ${status}`;
    if (status < 200 || status >= 300) return { verdict: "fail", words };
    return readGveAnswer(body) ?? { verdict: "pass", words };
  } catch (error) {
    signal.throwIfAborted();
    return { verdict: "fail", words: error instanceof Error ? error.message : String(error) };
  }
}
