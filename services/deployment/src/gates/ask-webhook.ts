import type { WebhookQuestion } from "./gate.ts";
import { readGveAnswer } from "./gve-answer.ts";
import type { Look } from "./look.ts";
import { postWebhook } from "./post-webhook.ts";

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
  try {
    const { status, body } = await postWebhook({ url, content: tried, agent: "gate", timeoutMs }, signal);
    const words = `HTTP ${status}`;
    if (status < 200 || status >= 300) return { verdict: "fail", words };
    return readGveAnswer(body) ?? { verdict: "pass", words };
  } catch (error) {
    signal.throwIfAborted();
    return { verdict: "fail", words: error instanceof Error ? error.message : String(error) };
  }
}
