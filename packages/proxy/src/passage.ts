import type { Admission } from "./admission.ts";
import { withDeprecation } from "./deprecation.ts";
import { type FieldFacts, hasField } from "./field-changes.ts";
import { HeldAnswer, isChanged } from "./held-answer.ts";
import { freshnessOf, MOST_BODY_BYTES, type ResponseCache, type StoredAnswer } from "./response-cache.ts";
import type { ResponseHead } from "./response-head.ts";
import type { RouteGate } from "./route-gate.ts";

/** What keeps browsers from the usual mistakes; the service's own word goes first. */
const SECURITY_FIELDS: readonly (readonly [name: string, value: string])[] = [
  ["x-content-type-options", "nosniff"],
  ["x-frame-options", "SAMEORIGIN"],
  ["referrer-policy", "strict-origin-when-cross-origin"],
  ["cross-origin-opener-policy", "same-origin"],
];

/** What a passage is made of. */
export interface PassageInput {
  readonly gate: RouteGate | null;
  readonly admission: Admission | null;
  /** The Strict-Transport-Security field with its line end, or "". */
  readonly hsts: string;
  /** Where the answer is kept, and as what; null: nowhere. */
  readonly keeping: { cache: ResponseCache; key: string } | null;
  /** What fields may be made of. */
  readonly facts: FieldFacts;
}

/** What happens to an answer on its way from a service to a client, beyond being carried. */
export class Passage {
  readonly #input: PassageInput;
  #kept: { statusText: string; lines: string; forMs: number; chunks: Buffer[]; size: number } | null = null;

  constructor(input: PassageInput) {
    this.#input = input;
  }

  /** The Strict-Transport-Security field, which answers of our own have too; "": none. */
  get hsts(): string {
    return this.#input.hsts;
  }

  /** Largest request body; undefined: the engine's. */
  get maxBodyBytes(): number | undefined {
    return this.#input.gate?.rules.maxBodyBytes;
  }

  /** Until the response head; undefined: the service's. */
  get requestTimeoutMs(): number | undefined {
    return this.#input.gate?.rules.requestTimeoutMs;
  }

  /** Holds an answer back whose body is to be changed; null: it goes on as it comes. */
  hold(head: ResponseHead, isHead: boolean): HeldAnswer | null {
    const edit = this.#input.gate?.responseBody ?? null;
    return edit !== null && isChanged(head, isHead) ? new HeldAnswer(head, edit) : null;
  }

  /** Changes the service's fields, and notes the answer if it is kept. */
  onHead(head: ResponseHead): void {
    const { gate, keeping, admission } = this.#input;
    admission?.noteAnswer();
    if (keeping !== null) this.#keep(head, gate?.rules.cacheMs ?? 0);
    head.lines = this.#shown(head.lines);
  }

  /** A service's fields as this client gets them. */
  #shown(given: string): string {
    const { gate, admission, hsts, facts } = this.#input;
    let lines = editedLines(given, { gate, hsts, facts });
    // Whoever keeps it on the way must not give it to somebody else.
    if (gate?.rules.auth && !hasField(lines, "cache-control")) lines += "cache-control: private\r\n";
    return lines + rateFields(gate, admission);
  }

  #keep(head: ResponseHead, mostMs: number): void {
    const forMs = freshnessOf(head, mostMs);
    if (forMs > 0 && head.contentLength <= MOST_BODY_BYTES) {
      this.#kept = { statusText: head.statusText, lines: head.lines, forMs, chunks: [], size: 0 };
    }
  }

  /** A part of the answer's body. */
  onBody(bytes: Buffer, start: number, end: number): void {
    if (this.#kept === null) return;
    this.#kept.size += end - start;
    if (this.#kept.size > MOST_BODY_BYTES) this.#kept = null;
    else this.#kept.chunks.push(Buffer.from(bytes.subarray(start, end)));
  }

  /** The answer is complete. */
  onComplete(now: number): void {
    const { keeping } = this.#input;
    if (this.#kept === null || keeping === null) return;
    const { statusText, lines, forMs, chunks } = this.#kept;
    const body = Buffer.concat(chunks);
    const sized = hasField(lines, "content-length") ? lines : `${lines}content-length: ${body.length}\r\n`;
    keeping.cache.store(keeping.key, { statusText, lines: sized, body, storedAt: now, until: now + forMs });
  }

  /** What is kept, as this client gets it. */
  fieldsOf(answer: StoredAnswer, now: number): string {
    return this.#shown(`${answer.lines}age: ${Math.floor((now - answer.storedAt) / 1000)}\r\n`);
  }

  /** The request has ended. */
  end(): void {
    this.#input.admission?.release();
  }
}

function editedLines(given: string, { gate, hsts, facts }: Pick<PassageInput, "gate" | "hsts" | "facts">): string {
  let lines = gate?.responseEdit ? gate.responseEdit.apply(given, facts) : given;
  if (gate?.rules.hasSecurityFields) {
    for (const [name, value] of SECURITY_FIELDS) if (!hasField(lines, name)) lines += `${name}: ${value}\r\n`;
  }
  if (gate?.rules.deprecation) lines = withDeprecation(lines, gate.rules.deprecation);
  return hsts === "" || hasField(lines, "strict-transport-security") ? lines : lines + hsts;
}

function rateFields(gate: RouteGate | null, admission: Admission | null): string {
  if (gate === null || admission === null || admission.rates === "") return "";
  return `${gate.policyField}ratelimit: ${admission.rates}\r\n`;
}
