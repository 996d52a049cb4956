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

/** Every route of an environment. What cannot be served is told in `conflicts`; of two equal routes the first stays. */
export class RouteTable {
  readonly tree = new RouteTree<HttpBinding>();
  readonly conflicts: RouteConflict[] = [];
  readonly services: readonly DescService[];

  constructor(services: Iterable<DescService>) {
    this.services = [...services];
    for (const { stated, problems } of this.services.map(routesOf)) {
      for (const { method, problem } of problems) {
        this.conflicts.push({ route: "", method: methodName(method), servedBy: "", problem });
      }
      for (const binding of stated) this.#add(binding);
    }
    // What a contract states comes before what every method has.
    for (const { plain } of this.services.map(routesOf)) for (const binding of plain) this.#add(binding);
  }

  #add(binding: HttpBinding): void {
    const before = this.tree.add(binding.template, binding.httpMethod, binding);
    if (before === undefined || before.method === binding.method) return;
    const servedBy = methodName(before.method);
    this.conflicts.push({
      route: `${binding.httpMethod} ${binding.template.source}`,
      method: methodName(binding.method),
      servedBy,
      problem: `The route belongs to ${servedBy} already. Give one of the two another path.`,
    });
  }
}
