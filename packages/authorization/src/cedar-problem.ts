import { HmsError } from "@hms/kernel";
import { AUDIT_LEVELS } from "./audit-level-words.ts";
import { authorizationSchema } from "./authorization-schema.ts";
import { cedar, messageOf } from "./cedar-engine.ts";

function annotationOf(text: string, name: string): string | undefined {
  const answer = cedar().policyToJson(text);
  return answer.type === "success" ? answer.json.annotations?.[name] : undefined;
}

const MOST_CHARACTERS = 16_384;
const DEEPEST = 30;
const MOST_OPERATORS = 100;
const OPERATOR = /&&|\|\||[-+*!<>]|==|\b(?:if|has|like|in|is)\b/g;

/** The engine is recursive and cannot be used again after its stack has run over: it never sees what could do that. */
function sizeProblem(text: string): string | undefined {
  if (text.length > MOST_CHARACTERS) return `has ${text.length} characters; at most ${MOST_CHARACTERS} may be`;
  const plain = text.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  let depth = 0;
  let deepest = 0;
  for (const letter of plain) {
    if ("([{".includes(letter)) deepest = Math.max(deepest, ++depth);
    else if (")]}".includes(letter)) depth -= 1;
  }
  if (deepest > DEEPEST) return `is nested ${deepest} deep; at most ${DEEPEST} may be`;
  const operators = plain.match(OPERATOR)?.length ?? 0;
  if (operators > MOST_OPERATORS) return `has ${operators} operators; at most ${MOST_OPERATORS} may be: make two of it`;
  return undefined;
}

let schema: ReturnType<typeof authorizationSchema> | undefined;

/**
 * What is wrong with a text as one Cedar policy, judged by the schema of the contracts, as the rest of a sentence about it;
 * undefined: nothing. Asked when a policy is saved, never on the call path.
 */
export function cedarProblem(text: string): string | undefined {
  const unfit = sizeProblem(text);
  if (unfit !== undefined) return unfit;
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
