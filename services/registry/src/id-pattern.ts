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

/** Whether a service id fits the pattern; * stands for any text, the empty one and dots included. */
export function patternTest(pattern: string): (serviceId: string) => boolean {
  const [first = "", ...rest] = pattern.split(/\*+/);
  const last = rest.pop();
  return (serviceId) => {
    if (last === undefined) return serviceId === first;
    if (serviceId.length < first.length + last.length) return false;
    if (!serviceId.startsWith(first) || !serviceId.endsWith(last)) return false;
    let at = first.length;
    for (const part of rest) {
      const found = serviceId.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at <= serviceId.length - last.length;
  };
}
