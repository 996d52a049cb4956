import { type DescField, type DescMessage, type DescMethod, hasOption } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type ValidationResult, type Violation } from "@bufbuild/protovalidate";
import { validate as rules } from "@hms/contracts";
import { type FieldViolation, HmsError, type MethodEntry, type RequestValidator } from "@hms/kernel";
import { boundedWork, TookTooLong } from "./bounded-work.ts";
import { isLarge } from "./large-message.ts";
import { patternMatches } from "./pattern-match.ts";

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
  const fieldViolations = violations.slice(0, MOST_VIOLATIONS).map(violationOf);
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

/** How long the rules of a contract that somebody registered may take for one request: they are compiled by the first. */
const LONGEST_MS = { first: 1_000, later: 250 } as const;
/** How long such a contract's calls are refused after that; twice as long each time, at most 5 min. */
const FIRST_REST_MS = 5_000;
const LONGEST_REST_MS = 300_000;

type Check = (message: never) => ValidationResult;

/** More problems of one request are not told. */
const MOST_VIOLATIONS = 100;

function checkOf(desc: DescMessage): Check {
  const quick = createValidator({ failFast: true, regexMatch: patternMatches });
  let thorough: ReturnType<typeof createValidator> | undefined;
  return (message) => {
    const first = quick.validate(desc, message);
    if (first.kind !== "invalid" || isLarge(message)) return first;
    thorough ??= createValidator({ regexMatch: patternMatches });
    return thorough.validate(desc, message);
  };
}

/** Validates by rules that strangers wrote: what takes too long is stopped, and rests. */
function boundedCheckOf(desc: DescMessage): Check {
  let check: Check | undefined;
  let restMs = FIRST_REST_MS / 2;
  let restsUntil = 0;
  return (message) => {
    if (performance.now() < restsUntil) throw new TookTooLong("they took too long just now");
    const limitMs = check === undefined ? LONGEST_MS.first : LONGEST_MS.later;
    try {
      const known = check ?? checkOf(desc);
      const result = boundedWork(() => known(message), limitMs);
      check = known;
      return result;
    } catch (error) {
      if (error instanceof TookTooLong) {
        // What was stopped may have left half of something behind.
        check = undefined;
        restMs = Math.min(restMs * 2, LONGEST_REST_MS);
        restsUntil = performance.now() + restMs;
      }
      throw error;
    }
  };
}

/**
 * Checks requests against the `buf.validate` rules of their contract (protovalidate), every violation at once: at most
 * 100, and of requests with more than 10,000 values or a text of more than 20,000 characters the first. Messages without rules cost one look-up. Rules of registered contracts may take 250 ms, and 1 s the first time; their calls
 * rest after that.
 */
export function createRequestValidator(): RequestValidator {
  // Contracts come and go while the process runs: each has a validator of its own that goes with it.
  const checks = new WeakMap<DescMessage, Check | null>();
  const checkFor = ({ desc, environment }: MethodEntry) => {
    let found = checks.get(desc.input);
    if (found === undefined) {
      const make = environment === undefined ? checkOf : boundedCheckOf;
      found = hasRules(desc.input) ? make(desc.input) : null;
      checks.set(desc.input, found);
    }
    return found;
  };
  return {
    /** @throws HmsError INVALID_ARGUMENT with every violation, FAILED_PRECONDITION if the rules themselves are broken */
    validate(entry: MethodEntry, request: unknown): void {
      const check = checkFor(entry);
      if (check === null) return;
      const result = resultOf(entry.desc, () => check(request as never));
      if (result.kind === "invalid") throw refusal(entry.desc, result.violations);
      if (result.kind === "error") throw brokenRules(entry.desc, result.error);
    },
  };
}

function resultOf(method: DescMethod, check: () => ValidationResult): ValidationResult {
  try {
    return check();
  } catch (error) {
    if (error instanceof TookTooLong) throw brokenRules(method, error);
    throw error;
  }
}
