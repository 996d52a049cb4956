import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { OrderedService } from "./deploy-order.ts";

/** What happens to the others if one of several fails. */
export const POLICIES = ["halt", "continue", "rollback-all"] as const;
export type Policy = (typeof POLICIES)[number];

/** A service with the nodes of its run. */
export interface DeployStep<T extends OrderedService> {
  readonly service: T;
  readonly node: string;
  /** Takes it back, if that was asked for. */
  readonly undo?: string;
}

/** How several services are deployed. */
export interface DeployWay {
  readonly policy: Policy;
  /** Those that do not need one another at once; else one after the other. */
  readonly parallel: boolean;
}

interface Edge extends JsonObject {
  node: string;
  on: "success" | "always";
}

/** The node that ends the rollouts of a run that was cancelled. */
const SETTLE = "settle";
/** What begins an expression. */
const MARK = "$\u007b{";
const TAKEN_BACK_BECAUSE = "a service deployed with it failed, or the deploy was cancelled";

/** The steps of services in their order. Their names are the services' where those can be names of nodes. */
export function deploySteps<T extends OrderedService>(ordered: readonly T[], { policy }: DeployWay): DeployStep<T>[] {
  return ordered.map((service, index) => {
    const { name } = service;
    const isName = /^[a-z][a-z0-9-]{0,56}$/.test(name) && name !== SETTLE;
    const node = isName ? name : `service_${index + 1}`;
    return { service, node, ...(policy === "rollback-all" ? { undo: `undo_${node}` } : {}) };
  });
}

/**
 * The run that deploys services which are in the order of their needs: a step each, which `requestOf` says. halt and rollback-all
 * let nothing begin after a failure, and rollback-all takes what succeeded back at the end, the last first; continue leaves out
 * only what needs what failed.
 */
export function deployGraph<T extends OrderedService>(
  steps: readonly DeployStep<T>[],
  way: DeployWay,
  requestOf: (service: T) => JsonObject,
): JsonObject {
  const waves = way.parallel ? wavesOf(steps) : steps.map((step) => [step]);
  const nodes: JsonObject = {};
  for (const [index, wave] of waves.entries()) {
    for (const step of wave) {
      nodes[step.node] = {
        uses: "rollout/Deploy",
        needs: way.policy === "continue" ? ownNeeds(step, { steps, way }) : (waves[index - 1] ?? []).map(after),
        with: literal(requestOf(step.service)),
      };
    }
  }
  const rollouts = steps.map(({ node }) => ({ node, state: `\${{ nodes["${node}"].state }}` }));
  nodes[SETTLE] = { uses: "rollout/settle", finally: true, with: { rollouts } };
  Object.assign(nodes, undoing(steps, waves.at(-1) ?? []));
  return { nodes };
}

const after = ({ node }: { node: string }): Edge => ({ node, on: "success" });

/** What a service needs, and, one after the other, the end of the one before it, whatever that is. */
function ownNeeds<T extends OrderedService>(
  step: DeployStep<T>,
  { steps, way }: { steps: readonly DeployStep<T>[]; way: DeployWay },
): Edge[] {
  const needed = steps.filter(({ service }) => step.service.needs.includes(service.name)).map(after);
  const before = way.parallel ? undefined : steps[steps.indexOf(step) - 1];
  if (before === undefined || needed.some(({ node }) => node === before.node)) return needed;
  return [...needed, { node: before.node, on: "always" }];
}

/** Steps that need nothing of one another, those first that the next ones need. */
function wavesOf<T extends OrderedService>(steps: readonly DeployStep<T>[]): DeployStep<T>[][] {
  const depths = new Map<string, number>();
  const waves: DeployStep<T>[][] = [];
  for (const step of steps) {
    const { name, needs } = step.service;
    const depth = Math.max(-1, ...needs.map((need) => depths.get(need) ?? -1)) + 1;
    depths.set(name, depth);
    waves[depth] = [...(waves[depth] ?? []), step];
  }
  return waves;
}

/** The last wave has succeeded only if all have. */
function undoing<T extends OrderedService>(
  steps: readonly DeployStep<T>[],
  last: readonly DeployStep<T>[],
): JsonObject {
  const states = last.map(({ node }) => `nodes["${node}"].state`).join(", ");
  const nodes: JsonObject = {};
  // What was cancelled is being undone until then, by its own rollouts.
  let before = SETTLE;
  for (const { service, node, undo } of steps.toReversed()) {
    if (undo === undefined) continue;
    nodes[undo] = {
      uses: "rollout/undo",
      finally: true,
      needs: [{ node: before, on: "always" }],
      if: `nodes["${node}"].state == "succeeded" && [${states}].exists(state, state != "succeeded")`,
      with: {
        service: service.name,
        revision: `\${{ nodes["${node}"].output.previous_revision }}`,
        from: `\${{ nodes["${node}"].output.revision }}`,
        reason: TAKEN_BACK_BECAUSE,
      },
    };
    before = undo;
  }
  return nodes;
}

/** A value whose texts mean what they say: what would be an expression is written as one that gives it. */
function literal(value: JsonValue): JsonValue {
  if (typeof value === "string") return value.replaceAll(MARK, () => `${MARK} '$' + '{{' }}`);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(literal);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, literal(each)]));
}
