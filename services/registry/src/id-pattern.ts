import type { FieldViolation } from "@hms/kernel";

const PATTERN = /^[a-z0-9_.*]+$/;
const LONGEST_PATTERN = 200;

/** What is wrong with a pattern of service ids. */
export function patternViolations(pattern: string): FieldViolation[] {
  if (PATTERN.test(pattern) && pattern.length <= LONGEST_PATTERN) return [];
  const description = `"${pattern.slice(0, 80)}" is no pattern; write a service id with * for any part, "hms.*".`;
  return [{ field: "pattern", description }];
}

/** The pattern as an operand of SQL's LIKE. */
export function likeOperand(pattern: string): string {
  return pattern.replace(/[\\%_]/g, "\\$&").replace(/\*+/g, "%");
}
