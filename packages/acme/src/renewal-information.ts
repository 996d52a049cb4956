import { AcmeProblem } from "./acme-problem.ts";
import { bodyOf, type Directory } from "./acme-session.ts";
import { renewalIdOf } from "./certificate-request.ts";
import type { Exchange } from "./https-exchange.ts";
import type { SuggestedWindow } from "./renewal-plan.ts";

const LONGEST_MS = 24 * 3600 * 1000;
const SHORTEST_MS = 60_000;
/** Where the authority does not say when to ask again (RFC 9773 §4.3). */
const USUAL_MS = 6 * 3600 * 1000;

/** What an authority says of a certificate's renewal. */
export interface RenewalInformation {
  readonly window: SuggestedWindow;
  /** When to ask again: from a minute to a day. */
  readonly askAgainMs: number;
}

/** Asks when a certificate should be renewed (RFC 9773); undefined: the authority does not say. Raises AcmeProblem. */
export async function askRenewal(
  exchange: Exchange,
  directory: Directory,
  certificate: string,
): Promise<RenewalInformation | undefined> {
  const id = directory.renewalInfo === undefined ? undefined : await renewalIdOf(certificate);
  if (id === undefined) return undefined;
  const url = `${directory.renewalInfo?.replace(/\/$/, "")}/${id}`;
  const { body, retryAfterMs } = bodyOf<{ suggestedWindow?: { start: string; end: string } }>(
    await exchange({ method: "GET", url }),
    url,
  );
  const window = {
    start: Date.parse(body?.suggestedWindow?.start ?? ""),
    end: Date.parse(body?.suggestedWindow?.end ?? ""),
  };
  if (!(window.start < window.end)) throw new AcmeProblem("unknown", "the authority's renewal window cannot be read");
  const wanted = retryAfterMs === 0 ? USUAL_MS : retryAfterMs;
  return { window, askAgainMs: Math.min(Math.max(wanted, SHORTEST_MS), LONGEST_MS) };
}
