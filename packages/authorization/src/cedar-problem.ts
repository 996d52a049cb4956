import { HmsError } from "@hms/kernel";
import { AUDIT_LEVELS } from "./audit-level-words.ts";
import { authorizationSchema } from "./authorization-schema.ts";
import { cedar, messageOf } from "./cedar-engine.ts";

function annotationOf(text: string, name: string): string | undefined {
  const answer = cedar().policyToJson(text);
  return answer.type === "success" ? answer.json.annotations?.[name] : undefined;
}

let schema: ReturnType<typeof authorizationSchema> | undefined;

/**
 * What is wrong with a text as one Cedar policy, judged by the schema of the contracts, as the rest of a sentence about it;
 * undefined: nothing. Asked when a policy is saved, never on the call path.
 */
export function cedarProblem(text: string): string | undefined {
  const parts = cedar().policySetTextToParts(text);
  if (parts.type === "failure") return `is no Cedar: ${messageOf(parts.errors)}`;
  if (parts.policies.length !== 1 || parts.policy_templates.length > 0) {
    return "has to be exactly one policy, without slots; give each its own id";
  }
  const level = annotationOf(text, "audit_level");
  if (level !== undefined && !Object.hasOwn(AUDIT_LEVELS, level)) {
    return `has an @audit_level that is none; write ${Object.keys(AUDIT_LEVELS).join(", ")}`;
  }
  schema ??= authorizationSchema();
  const answer = cedar().validate({ schema, policies: { staticPolicies: { policy: text } } });
  if (answer.type === "failure") throw new HmsError("INTERNAL", messageOf(answer.errors));
  const found = answer.validationErrors.map(({ error }) => error);
  return found.length === 0 ? undefined : `does not fit the contracts: ${messageOf(found)}`;
}
