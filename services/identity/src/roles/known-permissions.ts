import type { FieldViolation } from "@hms/kernel";
import { nearestName } from "@hms/manifest";

/**
 * What is wrong with permissions that nothing asks for: "resource:verb" must be known, "resource:*" needs a known resource,
 * "*" is all. A typing error would permit nothing, and nobody would notice.
 */
export function unknownPermissions(field: string, names: readonly string[], known: Iterable<string>): FieldViolation[] {
  const all = new Set(known);
  const possible = [...new Set([...all, ...[...all].map(wholeOf)])];
  return names.flatMap((name, index) => {
    if (name === "*" || possible.includes(name)) return [];
    const nearest = nearestName(name, possible);
    const advice = nearest === undefined ? "See them all: hms-sys roles list" : `Did you mean "${nearest}"?`;
    return [{ field: `${field}[${index}]`, description: `"${name.slice(0, 80)}" is no permission. ${advice}` }];
  });
}

const wholeOf = (permission: string) => `${permission.slice(0, permission.indexOf(":"))}:*`;
