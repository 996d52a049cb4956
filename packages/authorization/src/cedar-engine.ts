import { createRequire } from "node:module";
import type * as Cedar from "@cedar-policy/cedar-wasm/nodejs";
import { HmsError } from "@hms/kernel";

let loaded: typeof Cedar | undefined;

/** Cedar, loaded on first use: programs that only read policy files never pay for it. */
export function cedar(): typeof Cedar {
  loaded ??= createRequire(import.meta.url)("@cedar-policy/cedar-wasm/nodejs") as typeof Cedar;
  return loaded;
}

/** A question as Cedar takes it. */
export type EngineQuestion = Pick<
  Cedar.StatefulAuthorizationCall,
  "principal" | "action" | "resource" | "context" | "entities"
>;

/** What Cedar answers; policies that failed are no part of its decision, so whoever asks has to deny. */
export interface EngineAnswer {
  readonly allowed: boolean;
  /** Ids of the policies that decide. */
  readonly reasons: readonly string[];
  /** What went wrong, by policy id. */
  readonly errors: readonly { readonly id: string; readonly message: string }[];
}

/** Cedar forgets no parsed set, but replaces one of the same name: names of sets that nobody holds are used again. */
const free: string[] = [];
let named = 0;
const abandoned = new FinalizationRegistry<string>((name) => {
  cedar().preparsePolicySet(name, { staticPolicies: {} });
  free.push(name);
});

/** Policies that Cedar has parsed and keeps for as long as this object lives. */
export class ParsedPolicies {
  readonly #name: string;

  /** @throws HmsError INVALID_ARGUMENT if Cedar cannot read one of the texts, given by id. */
  constructor(texts: Readonly<Record<string, string>>) {
    this.#name = free.pop() ?? `set-${named++}`;
    abandoned.register(this, this.#name);
    const answer = cedar().preparsePolicySet(this.#name, { staticPolicies: texts });
    if (answer.type === "failure") throw unreadable(answer.errors);
  }

  /** Asks Cedar; a question that it cannot read is an error, never an answer. */
  ask(question: EngineQuestion): EngineAnswer {
    const answer = cedar().statefulIsAuthorized({ ...question, preparsedPolicySetId: this.#name });
    if (answer.type === "failure") throw new HmsError("INTERNAL", messageOf(answer.errors));
    const { decision, diagnostics } = answer.response;
    const errors = diagnostics.errors.map(({ policyId: id, error }) => ({ id, message: error.message }));
    return { allowed: decision === "allow" && errors.length === 0, reasons: diagnostics.reason, errors };
  }
}

/** Cedar's own words about what is wrong. */
export function messageOf(errors: readonly Cedar.DetailedError[]): string {
  return errors.map(({ message, help }) => (help ? `${message} (${help})` : message)).join("; ");
}

function unreadable(errors: readonly Cedar.DetailedError[]): HmsError {
  return new HmsError("INVALID_ARGUMENT", `Cedar cannot read a policy: ${messageOf(errors)}`);
}
