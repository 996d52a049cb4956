import { type DescField, type DescMessage, type DescMethod, hasOption } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type ValidationResult, type Violation } from "@bufbuild/protovalidate";
import { validate as rules } from "@hms/contracts";
import { type FieldViolation, HmsError, type MethodEntry, type RequestValidator } from "@hms/kernel";

function fieldHasRules(field: DescField): boolean {
  return hasOption(field, rules.field) || (field.oneof !== undefined && hasOption(field.oneof, rules.oneof));
}

/** Whether a message, or one inside it, has rules at all: most have none and need not be looked at. */
function hasRules(desc: DescMessage, seen: Set<DescMessage> = new Set()): boolean {
  if (seen.has(desc)) return false;
  seen.add(desc);
  if (hasOption(desc, rules.message)) return true;
  return desc.fields.some((field) => fieldHasRules(field) || (field.message && hasRules(field.message, seen)));
}

const violationOf = ({ field, message, ruleId }: Violation): FieldViolation => ({
  field: pathToString(field),
  description: `${message === "" ? `breaks the rule ${ruleId}` : message}.`,
});

function refusal(method: DescMethod, violations: readonly Violation[]): HmsError {
  const fieldViolations = violations.map(violationOf);
  const list = fieldViolations.map(({ field, description }) => `${field || "the request"}: ${description}`).join(" ");
  return new HmsError(
    "INVALID_ARGUMENT",
    `The request of ${method.parent.typeName}/${method.name} is not valid. ${list}`,
    {
      reason: "REQUEST_NOT_VALID",
      fieldViolations,
    },
  );
}

/** A method whose own rules cannot be evaluated is its author's mistake, and nothing gets past it. */
function brokenRules({ parent, name }: DescMethod, cause: Error): HmsError {
  const message = `The validation rules of ${parent.typeName}/${name} cannot be evaluated: ${cause.message}. Correct the contract.`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "CONTRACT_RULES_BROKEN", cause });
}

/**
 * Checks requests against the `buf.validate` rules of their contract (protovalidate), every violation at once. Messages
 * without rules cost one look-up.
 */
export function createRequestValidator(): RequestValidator {
  // Contracts come and go while the process runs: each has a validator of its own that goes with it.
  const validators = new WeakMap<DescMessage, ((message: never) => ValidationResult) | null>();
  const validatorOf = (desc: DescMessage) => {
    let found = validators.get(desc);
    if (found === undefined) {
      const validator = hasRules(desc) ? createValidator() : null;
      found = validator && ((message) => validator.validate(desc, message));
      validators.set(desc, found);
    }
    return found;
  };
  return {
    /** @throws HmsError INVALID_ARGUMENT with every violation, FAILED_PRECONDITION if the rules themselves are broken */
    validate({ desc }: MethodEntry, request: unknown): void {
      const check = validatorOf(desc.input);
      if (check === null) return;
      const result = check(request as never);
      if (result.kind === "invalid") throw refusal(desc, result.violations);
      if (result.kind === "error") throw brokenRules(desc, result.error);
    },
  };
}
