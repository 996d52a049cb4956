import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import type { ResourcePredicate } from "@hms/kernel";
import type { AccessSubject } from "./access-verdict.ts";
import { cedar } from "./cedar-engine.ts";
import type { CompiledPolicy } from "./compiled-policy.ts";
import { type AccessTransport, engineQuestion, resourceEntity } from "./entities.ts";
import { residualPredicate, simplified } from "./residual-predicate.ts";

/** Who asks for many things at once. */
export interface PartialQuestion {
  subject: AccessSubject;
  permission: string;
  transport: AccessTransport;
  /** Whether the things live in environments; which, is not known. */
  isPlaced: boolean;
}

const UNTOLD: ResourcePredicate = { untold: true };
const UNKNOWN_ENVIRONMENT = { __extn: { fn: "unknown", arg: "environment" } };

function conditionOf({ conditions }: PolicyJson): ResourcePredicate {
  return {
    all: conditions.map(({ kind, body }) =>
      kind === "when" ? residualPredicate(body) : { not: residualPredicate(body) },
    ),
  };
}

/**
 * What a thing has to be for these policies to allow it, by Cedar's partial evaluation with resource and environment left
 * open. That is experimental in Cedar, and some of it cannot be told: whoever uses it asks once more about each thing.
 */
export function partialAnswer(policies: readonly CompiledPolicy[], question: PartialQuestion): ResourcePredicate {
  const resource = resourceEntity({ kind: "", name: "" });
  const { principal, action, context, entities } = engineQuestion({ ...question, resource, environment: undefined });
  const answer = cedar().isAuthorizedPartial({
    principal,
    action,
    resource: null,
    context: question.isPlaced ? { ...context, environment: UNKNOWN_ENVIRONMENT } : { ...context },
    entities: entities.filter((entity) => entity !== resource),
    policies: { staticPolicies: Object.fromEntries(policies.map(({ text }, index) => [String(index), text])) },
  });
  if (answer.type === "failure") return UNTOLD;
  const { residuals } = answer.response;
  const ofEffect = (effect: CompiledPolicy["effect"]) =>
    policies.flatMap((policy, index) => {
      const residual = residuals[String(index)];
      return policy.effect === effect && residual !== undefined ? [conditionOf(residual)] : [];
    });
  return simplified({ all: [{ any: ofEffect("permit") }, { not: { any: ofEffect("forbid") } }] });
}
