import { HmsError } from "@hms/kernel/errors";

/** A service of a deploy of several. */
export interface OrderedService {
  readonly name: string;
  readonly needs: readonly string[];
  /** For messages. */
  readonly file: string;
}

/**
 * Brings services into an order in which each comes after those it needs; otherwise they stay as they are given. What is
 * needed and not among them is there already, or is told of when it is deployed (Kahn, "Topological sorting of large
 * networks", 1962).
 * @throws HmsError INVALID_ARGUMENT with every name that is given twice, or with the services that need each other in a circle
 */
export function deployOrder<T extends OrderedService>(services: readonly T[]): T[] {
  refuseTwins(services);
  const ordered: T[] = [];
  let left = [...services];
  while (left.length > 0) {
    const waiting = new Set(left.map(({ name }) => name));
    const next = left.find(({ needs }) => !needs.some((need) => waiting.has(need)));
    if (next === undefined)
      throw refused(`These need each other in a circle: ${circle(left)}. Remove one of the needs.`);
    ordered.push(next);
    left = left.filter((service) => service !== next);
  }
  return ordered;
}

function refuseTwins(services: readonly OrderedService[]): void {
  const twins = services.filter(({ name }, index) => services.findIndex((other) => other.name === name) !== index);
  if (twins.length === 0) return;
  const words = twins.map(({ name, file }) => {
    return `${name} (${services.find((other) => other.name === name)?.file} and ${file})`;
  });
  throw refused(`Several manifests have the same name: ${words.join(", ")}. Deploy one of them, or rename it.`);
}

/** "a → b → a". */
function circle(left: readonly OrderedService[]): string {
  const byName = new Map(left.map((service) => [service.name, service]));
  const path: string[] = [];
  let at = left[0];
  while (at !== undefined && !path.includes(at.name)) {
    path.push(at.name);
    at = byName.get(at.needs.find((need) => byName.has(need)) ?? "");
  }
  return [...path.slice(path.indexOf(at?.name ?? "")), at?.name].join(" → ");
}

const refused = (message: string) => new HmsError("INVALID_ARGUMENT", message);
