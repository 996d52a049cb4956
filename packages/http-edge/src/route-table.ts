import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { type HttpBinding, type RuleProblem, statedBindings } from "./http-binding.ts";
import { plainBindings } from "./plain-routes.ts";
import { RouteTree } from "./route-tree.ts";

/** Two methods that want the same path. */
export interface RouteConflict {
  /** "GET /v1/shelves/{shelf}". */
  readonly route: string;
  /** Who is not served there: "pkg.Service/Method". */
  readonly method: string;
  /** Who is; empty if the rule cannot be served at all. */
  readonly servedBy: string;
  /** What to do about it. */
  readonly problem: string;
}

interface ServiceRoutes {
  readonly stated: readonly HttpBinding[];
  readonly plain: readonly HttpBinding[];
  readonly problems: readonly RuleProblem[];
}

const compiled = new WeakMap<DescService, ServiceRoutes>();

/** The name of a method as errors and audit events spell it. */
export function methodName(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

function routesOf(service: DescService): ServiceRoutes {
  let routes = compiled.get(service);
  if (routes === undefined) {
    const stated = service.methods.map(statedBindings);
    routes = {
      stated: stated.flatMap(({ bindings }) => bindings),
      plain: service.methods.flatMap(plainBindings),
      problems: stated.flatMap(({ problems }) => problems),
    };
    compiled.set(service, routes);
  }
  return routes;
}

/** Who a method's plain paths belong to: no other contract may state them, or it would get calls meant for them. */
function plainOwners(services: readonly DescService[]): ReadonlyMap<string, DescMethod> {
  const owners = new Map<string, DescMethod>();
  for (const { plain } of services.map(routesOf)) {
    for (const { template, method } of plain) {
      const path = literalPath(template);
      if (!owners.has(path)) owners.set(path, method);
    }
  }
  return owners;
}

/** A template without variables as the tree matches it, however its contract has written it. */
function literalPath({ segments, verb }: HttpBinding["template"]): string {
  const path = segments.map((segment) => (segment.kind === "literal" ? segment.text : "*")).join("/");
  return verb === undefined ? path : `${path}:${verb}`;
}

/** Every route of an environment. What cannot be served is told in `conflicts`; of two equal routes the first stays. */
export class RouteTable {
  readonly tree = new RouteTree<HttpBinding>();
  readonly conflicts: RouteConflict[] = [];
  readonly services: readonly DescService[];

  constructor(services: Iterable<DescService>) {
    this.services = [...services];
    const owners = plainOwners(this.services);
    for (const { stated, problems } of this.services.map(routesOf)) {
      for (const { method, problem } of problems) {
        this.conflicts.push({ route: "", method: methodName(method), servedBy: "", problem });
      }
      for (const binding of stated) this.#addStated(binding, owners.get(literalPath(binding.template)));
    }
    // What a contract states comes before what every method has.
    for (const { plain } of this.services.map(routesOf)) for (const binding of plain) this.#add(binding);
  }

  #addStated(binding: HttpBinding, owner: DescMethod | undefined): void {
    if (owner === undefined || owner.parent === binding.method.parent) this.#add(binding);
    else this.#conflict(binding, owner);
  }

  #add(binding: HttpBinding): void {
    const before = this.tree.add(binding.template, binding.httpMethod, binding);
    if (before !== undefined && before.method !== binding.method) this.#conflict(binding, before.method);
  }

  #conflict(binding: HttpBinding, owner: DescMethod): void {
    const servedBy = methodName(owner);
    this.conflicts.push({
      route: `${binding.httpMethod} ${binding.template.source}`,
      method: methodName(binding.method),
      servedBy,
      problem: `The route belongs to ${servedBy} already. Give one of the two another path.`,
    });
  }
}
