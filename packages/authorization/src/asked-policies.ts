import { type EngineAnswer, ParsedPolicies } from "./cedar-engine.ts";
import type { CompiledPolicy } from "./compiled-policy.ts";
import { type AccessRequest, engineQuestion } from "./entities.ts";
import { type EntityNeeds, entityNeeds } from "./entity-needs.ts";

const NOBODY: EngineAnswer = Object.freeze({ allowed: false, reasons: [], errors: [] });

/** Policies that are asked together, by the names that answers give them; parsed by Cedar when first asked. */
export class AskedPolicies {
  readonly #byKey: ReadonlyMap<string, CompiledPolicy>;
  readonly #needs: EntityNeeds | undefined;
  #parsed: ParsedPolicies | undefined;

  constructor(byKey: ReadonlyMap<string, CompiledPolicy>) {
    this.#byKey = byKey;
    this.#needs = entityNeeds([...byKey.values()]);
  }

  /** What Cedar says, told no more than what these look at. @throws HmsError INVALID_ARGUMENT if Cedar cannot read one */
  ask(request: AccessRequest): EngineAnswer {
    if (this.#byKey.size === 0) return NOBODY;
    this.#parsed ??= new ParsedPolicies(Object.fromEntries([...this.#byKey].map(([key, { text }]) => [key, text])));
    return this.#parsed.ask(engineQuestion(request, this.#needs));
  }
}
