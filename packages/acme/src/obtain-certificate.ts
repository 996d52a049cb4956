import { createPrivateKey, X509Certificate } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { AcmeFolder } from "./acme-folder.ts";
import { AcmeProblem, type ProblemDocument, problemOf } from "./acme-problem.ts";
import type { AcmeAnswer, AcmeSession } from "./acme-session.ts";
import { certificateRequest } from "./certificate-request.ts";

/** A certificate that is to be obtained. */
export interface Wanted {
  readonly name: string;
  readonly session: AcmeSession;
  readonly folder: AcmeFolder;
  /** An order that was begun before, perhaps by another process. */
  readonly order: string | undefined;
  /** Keeps the order, so that it is carried on instead of repeated. */
  readonly onOrder: (url: string) => void;
  /** The certificate that it replaces, as the authority knows it. */
  readonly replaces: string | undefined;
  readonly signal: AbortSignal;
}

interface Order {
  readonly status: "pending" | "ready" | "processing" | "valid" | "invalid";
  readonly identifiers?: readonly { value: string }[];
  readonly authorizations: readonly string[];
  readonly finalize: string;
  readonly certificate?: string;
  readonly error?: ProblemDocument;
}

interface Challenge {
  readonly type: string;
  readonly url: string;
  readonly token: string;
  readonly status: string;
  readonly error?: ProblemDocument;
}

interface Authorization {
  readonly status: "pending" | "valid" | "invalid" | "deactivated" | "expired" | "revoked";
  readonly challenges: readonly Challenge[];
}

const PATIENCE_MS = 120_000;
const FIRST_LOOK_MS = 250;
const LONGEST_LOOK_MS = 10_000;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----\r?\n?/g;

/**
 * Obtains a certificate by HTTP-01 (RFC 8555 §7, §8.3): carries on with an order that can be, else begins one.
 * Answers with the chain, PEM, which fits the folder's next key. Raises AcmeProblem.
 */
export async function obtainCertificate(wanted: Wanted): Promise<string> {
  const { name, session, folder } = wanted;
  const { url, order } = await openOrder(wanted);
  if (order.status === "pending") {
    for (const authorization of order.authorizations) await prove(wanted, authorization);
  }
  const ready = await settled(
    wanted,
    () => session.read<Order>(url),
    ({ status }) => status !== "pending",
  );
  if (ready.status === "ready") {
    await session.post<Order>(ready.finalize, { csr: await certificateRequest(name, folder.nextKey(name)) });
  }
  const issued = await settled(
    wanted,
    () => session.read<Order>(url),
    ({ status }) => status === "valid" || status === "invalid",
  );
  if (issued.status !== "valid" || issued.certificate === undefined)
    throw refusalOf(issued.error, "the order has failed");
  return checked((await session.read(issued.certificate)).text, wanted);
}

async function openOrder(wanted: Wanted): Promise<{ url: string; order: Order }> {
  const { session, name, replaces, onOrder } = wanted;
  const begun = wanted.order === undefined ? undefined : await orderAt(wanted.order, wanted);
  if (begun !== undefined) return begun;
  const identifiers = [{ type: "dns", value: name }];
  const answer = await session
    .post<Order>(session.directory.newOrder, { identifiers, ...(replaces === undefined ? {} : { replaces }) })
    .catch((error: unknown) => {
      // The authority does not know, or has replaced, what this one is to replace: an order like any other is still good.
      const isAboutReplacing =
        error instanceof AcmeProblem && ["alreadyReplaced", "malformed", "conflict"].includes(error.kind);
      if (replaces === undefined || !isAboutReplacing) throw error;
      return session.post<Order>(session.directory.newOrder, { identifiers });
    });
  if (answer.location === undefined)
    throw new AcmeProblem("unreachable", "the authority does not say where the order is");
  onOrder(answer.location);
  return { url: answer.location, order: answer.body };
}

/** An order that was begun, if it can still become a certificate. */
async function orderAt(url: string, { session, name }: Wanted): Promise<{ url: string; order: Order } | undefined> {
  try {
    const { body: order } = await session.read<Order>(url);
    const isOurs = order.identifiers?.length === 1 && order.identifiers[0]?.value === name;
    return order.status === "invalid" || !isOurs ? undefined : { url, order };
  } catch (error) {
    // Authorities forget orders after a while.
    if (error instanceof AcmeProblem && [403, 404, 410].includes(error.status)) return undefined;
    throw error;
  }
}

async function prove(wanted: Wanted, url: string): Promise<void> {
  const { session, folder, name } = wanted;
  const { body } = await session.read<Authorization>(url);
  if (body.status === "valid") return;
  const challenge = body.challenges.find(({ type }) => type === "http-01");
  if (challenge === undefined) {
    throw new AcmeProblem(
      "unsupportedIdentifier",
      `the authority has ${name} proven in other ways than by HTTP (http-01)`,
    );
  }
  using _answer = folder.answerChallenge(challenge.token, await session.keyAuthorization(challenge.token));
  if (challenge.status === "pending") await session.post(challenge.url, {});
  const judged = await settled(
    wanted,
    () => session.read<Authorization>(url),
    ({ status }) => status !== "pending",
  );
  if (judged.status === "valid") return;
  const error = judged.challenges.find((each) => each.error !== undefined)?.error;
  throw refusalOf(error, `the proof for ${name} is ${judged.status}`);
}

function refusalOf(error: ProblemDocument | undefined, otherwise: string): AcmeProblem {
  return error === undefined ? new AcmeProblem("unknown", otherwise) : problemOf(error);
}

/** Asks until it is so, as often as the authority likes. */
async function settled<T>(
  { signal }: Wanted,
  ask: () => Promise<AcmeAnswer<T>>,
  isSettled: (body: T) => boolean,
): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  for (let pause = FIRST_LOOK_MS; ; pause = Math.min(pause * 2, LONGEST_LOOK_MS)) {
    const { body, retryAfterMs } = await ask();
    if (isSettled(body)) return body;
    const wait = retryAfterMs > 0 ? Math.max(retryAfterMs, FIRST_LOOK_MS) : pause;
    if (performance.now() + wait > deadline) {
      // The order stays, and is carried on.
      throw new AcmeProblem("unreachable", "the authority has not decided within two minutes", { retryAfterMs });
    }
    await delay(wait, undefined, { signal });
  }
}

/** What an authority sends is shown to everybody: only what can be used is taken. */
function checked(text: string, { name, folder }: Wanted): string {
  const chain = text.match(CERTIFICATE) ?? [];
  const problem = chainProblem(chain, name, folder.nextKey(name));
  if (problem !== undefined) throw new AcmeProblem("unusableCertificate", `what the authority has sent ${problem}`);
  return chain.map((each) => each.trim()).join("\n");
}

function chainProblem(chain: readonly string[], name: string, key: string): string | undefined {
  try {
    const [leaf] = chain.map((each) => new X509Certificate(each));
    if (leaf === undefined) return "is no certificate";
    if (leaf.checkHost(name) === undefined) return `is not for ${name}`;
    if (!leaf.checkPrivateKey(createPrivateKey(key))) return "is for another key";
    return leaf.validToDate.getTime() > Date.now() ? undefined : "has ended already";
  } catch (error) {
    return `cannot be read: ${(error as Error).message}`;
  }
}
