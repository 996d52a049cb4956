import { formatDuration } from "./duration.ts";
import { gateProblems } from "./gate-rules.ts";
import { hookProblems } from "./hook-rules.ts";
import type { Manifest } from "./manifest-schema.ts";
import { routeShape } from "./route-path.ts";
import { parseTrafficShare } from "./traffic-share.ts";

/** Where the value of each key that was written stands. */
type Given = ReadonlyMap<string, { readonly line: number }>;

/** What must hold between keys that are each right by themselves; asked only if all of them could be read. */
interface Rule {
  readonly keys: readonly string[];
  /** The problems: the key each is about, what is wrong and what to do. */
  readonly check: (manifest: Manifest, given: Given) => [key: string, description: string][];
}

const scalingOrder: Rule = {
  keys: ["scaling.min", "scaling.max"],
  check: ({ scaling: { min, max } }) =>
    min <= max ? [] : [["scaling.min", `min (${min}) is more than max (${max}). Raise max, or lower min`]],
};

const meaningfulScaling: Rule = {
  keys: ["scaling.min", "scaling.max", "scaling.by", "scaling.max_replica_hours"],
  check: ({ scaling: { min, max, by, maxReplicaHours } }, given) => {
    const problems: [string, string][] = [];
    const isGiven = (key: string) => given.has(`scaling.${key}`);
    if (by !== "none" && isGiven("by") && max <= min) {
      problems.push(
        said("scaling.by", `There is nothing between min (${min}) and max (${max}). Raise max, or write by: none`),
      );
    }
    if (min === 0 && by === "none") {
      problems.push(said("scaling.min", "Nothing would start the first replica. Write max beside it, or min: 1"));
    }
    for (const key of ["stabilization", "idle", "max_replica_hours", "concurrency"]) {
      if (!isGiven(key) || by !== "none") continue;
      problems.push(
        said(`scaling.${key}`, "The load decides nothing here. Write max, more than min, or remove the key"),
      );
    }
    if (by === "cpu" && isGiven("concurrency")) {
      problems.push(
        said("scaling.concurrency", "The processor time decides. Write by: concurrency, or remove the key"),
      );
    }
    const least = 24 * Math.max(1, min);
    if (maxReplicaHours !== undefined && maxReplicaHours < least) {
      const why = `The minimum alone takes ${least} replica hours a day. Write ${least} or more`;
      problems.push(said("scaling.max_replica_hours", why));
    }
    return problems;
  },
};

const riseFits: Rule = {
  keys: ["health.rise", "health.interval", "health.start_timeout"],
  check: ({ health: { rise, intervalMs, startTimeoutMs } }) => {
    if ((rise - 1) * intervalMs < startTimeoutMs) return [];
    const checks = `${rise} checks, one each ${formatDuration(intervalMs)}`;
    const description = `${checks}, do not fit into start_timeout (${formatDuration(startTimeoutMs)}), so no replica could become healthy. Raise start_timeout, or lower rise or interval`;
    return [["health.start_timeout", description]];
  },
};

const deadlineFits: Rule = {
  keys: ["health.start_timeout", "health.min_healthy_time", "rollout.deadline"],
  check: ({ health, rollout }) => {
    const neededMs = health.startTimeoutMs + health.minHealthyTimeMs;
    if (neededMs <= rollout.deadlineMs) return [];
    const description = `The deadline (${formatDuration(rollout.deadlineMs)}) is shorter than what one replica may take: health.start_timeout and health.min_healthy_time make ${formatDuration(neededMs)}. Write a longer rollout.deadline`;
    return [["rollout.deadline", description]];
  },
};

const distinctRoutes: Rule = {
  keys: ["routes"],
  check: ({ routes }, given) => {
    const problems: [string, string][] = [];
    for (const [index, route] of routes.entries()) {
      const first = routes.findIndex((other) => overlap(other, route));
      if (first === -1 || first === index) continue;
      const where = `The route in line ${given.get(`routes[${first}]`)?.line}`;
      problems.push([
        `routes[${index}].path`,
        `${where} takes the same requests already. Remove one, or give them different paths or methods`,
      ]);
    }
    return problems;
  },
};

type Route = Manifest["routes"][number];

function overlap(one: Route, other: Route): boolean {
  // A route that could not be read has been reported already.
  if (typeof one.path !== "string" || typeof other.path !== "string") return false;
  if (!Array.isArray(one.methods) || !Array.isArray(other.methods)) return false;
  if (routeShape(one.path) !== routeShape(other.path)) return false;
  if (one.methods.length === 0 || other.methods.length === 0) return true;
  return one.methods.some((method) => other.methods.includes(method));
}

const knownCallers: Rule = {
  keys: ["routes"],
  check: ({ routes }) =>
    routes.flatMap((route, index) => {
      if (route.auth !== "public" || !Array.isArray(route.roles) || !Array.isArray(route.limits)) return [];
      const at = `routes[${index}]`;
      const asks = (key: string, is: boolean): [string, string][] =>
        is
          ? [
              [
                `${at}.${key}`,
                `Nobody is asked who calls, so ${key} could not be met. Add auth: required, or remove ${key}`,
              ],
            ]
          : [];
      return [
        ...asks("roles", route.roles.length > 0),
        ...asks("permission", typeof route.permission === "string"),
        ...asks("mfa", route.mfa === true),
        ...asks("mfa_max_age", typeof route.mfaMaxAgeMs === "number"),
        ...route.limits.flatMap(({ by }, position): [string, string][] =>
          by === "principal" || by === "credential"
            ? [
                [
                  `${at}.limits[${position}].by`,
                  `Nobody is asked who calls, so nothing is known of a ${by}. Add auth: optional or required, or write by: address`,
                ],
              ]
            : [],
        ),
      ];
    }),
};

const meaningfulLimits: Rule = {
  keys: ["routes"],
  check: ({ routes }) =>
    routes.flatMap(({ limits }, index) =>
      (Array.isArray(limits) ? (limits as Route["limits"]) : []).flatMap(
        ({ rate, burst, concurrency }, position): [string, string][] => {
          const at = `routes[${index}].limits[${position}]`;
          if (rate === undefined && concurrency === undefined) {
            return [[at, "This limits nothing. Add rate: 600/m, or concurrency: 10"]];
          }
          if (rate !== undefined || burst === undefined) return [];
          return [[`${at}.burst`, "A burst is a part of a rate, and there is none. Add rate: 600/m, or remove burst"]];
        },
      ),
    ),
};

const meaningfulVersions: Rule = {
  keys: ["routes"],
  check: ({ routes }) =>
    routes.flatMap(({ path, stripPrefix, deprecated, sunset, deprecationLink }, index): [string, string][] => {
      const at = `routes[${index}]`;
      const isBeginning = typeof stripPrefix !== "string" || `${path}/`.startsWith(`${stripPrefix}/`);
      const areDays = typeof deprecated === "string" && typeof sunset === "string";
      const isTold = deprecated !== undefined || sunset !== undefined;
      return [
        ...(isBeginning
          ? []
          : [said(`${at}.strip_prefix`, `path does not begin with ${stripPrefix}. Write how it begins`)]),
        ...(areDays && sunset < deprecated
          ? [said(`${at}.sunset`, `This is before deprecated (${deprecated}). Write a later day`)]
          : []),
        ...(deprecationLink === undefined || isTold
          ? []
          : [said(`${at}.deprecation_link`, "Nothing is deprecated. Add deprecated, or remove the key")]),
      ];
    }),
};

const meaningfulSteps: Rule = {
  keys: ["rollout"],
  check: ({ rollout: { strategy, steps, match } }, given) => {
    const problems: [string, string][] = [];
    const isGiven = (key: string) => given.has(`rollout.${key}`);
    if (strategy !== "canary" && isGiven("steps")) {
      problems.push(
        said("rollout.steps", `Only a canary has steps, and the strategy is ${strategy}. Write strategy: canary`),
      );
    }
    for (const key of ["match", "sticky", "promote", "warm"]) {
      if (strategy !== "rolling" || !isGiven(key)) continue;
      const why =
        "A rolling update changes versions batch by batch, so this says nothing. Write strategy: canary or blue-green";
      problems.push(said(`rollout.${key}`, why));
    }
    const shares = steps.map(({ share }) => parseTrafficShare(String(share)) ?? 0);
    for (const [index, share] of shares.entries()) {
      if (share === 0 || index === 0 || share > (shares[index - 1] ?? 0)) continue;
      problems.push(
        said(`rollout.steps[${index}].share`, "A canary's share only grows. Write more than in the step before"),
      );
    }
    for (const [index, { header, cookie }] of match.entries()) {
      if (header === undefined && cookie === undefined) {
        problems.push(said(`rollout.match[${index}]`, "This matches nothing. Add header: NAME, or cookie: NAME"));
      }
    }
    return problems;
  },
};

const othersNeeded: Rule = {
  keys: ["name", "needs"],
  check: ({ name, needs }) =>
    needs.flatMap((need, index) =>
      need === name ? [said(`needs[${index}]`, "A service that needs itself never comes. Remove it")] : [],
    ),
};

const meaningfulGates: Rule = { keys: ["gates"], check: ({ gates }, given) => gateProblems(gates, given) };

const meaningfulHooks: Rule = { keys: ["hooks"], check: ({ hooks }) => hookProblems(hooks) };

const said = (key: string, description: string): [string, string] => [key, description];

/** Everything that must hold between keys. */
export const manifestRules: readonly Rule[] = [
  scalingOrder,
  meaningfulScaling,
  riseFits,
  deadlineFits,
  distinctRoutes,
  knownCallers,
  meaningfulLimits,
  meaningfulVersions,
  meaningfulSteps,
  meaningfulGates,
  meaningfulHooks,
  othersNeeded,
];
