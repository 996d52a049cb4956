import { HmsError } from "@hms/kernel";

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** A replica's id holds both names and has to stay within what the mesh takes, 128 characters. */
const LONGEST = { environment: 32, service: 63 } as const;

/** Hosts of these forms are the platform's own: `hms.localhost`, and the secret one of each installation. */
const RESERVED_ENVIRONMENT = /^hms(?:-[a-z2-7]{26})?$/;

/** @throws HmsError INVALID_ARGUMENT unless it is a DNS label: names become parts of paths and addresses. */
export function checkedName(field: "environment" | "service", name: string): string {
  const longest = LONGEST[field];
  const isReserved = field === "environment" && RESERVED_ENVIRONMENT.test(name);
  if (LABEL.test(name) && name.length <= longest && !isReserved) return name;
  const advice = isReserved
    ? "is the platform's own; choose another."
    : `cannot be a name: use 1 to ${longest} lower-case letters, digits and inner hyphens.`;
  const description = `"${name.slice(0, 80)}" ${advice}`;
  throw new HmsError("INVALID_ARGUMENT", `${field}: ${description}`, { fieldViolations: [{ field, description }] });
}

/** The name that was most likely meant: at most two letters differ; undefined if none is near. */
export function nearestName(name: string, names: readonly string[]): string | undefined {
  const near = names
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance);
  return near[0] && near[0].distance <= 2 ? near[0].candidate : undefined;
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replace));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
