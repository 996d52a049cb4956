import { type AccessRule, ANYBODY } from "./access-rule.ts";
import type { AccessSubject, AccessTarget, AccessVerdict } from "./access-verdict.ts";
import { MethodSlice } from "./method-slice.ts";
import { isExact, patternTest } from "./name-pattern.ts";

interface Compiled {
  readonly rule: AccessRule;
  readonly fitsService: (serviceId: string) => boolean;
  readonly fitsMethod: (method: string) => boolean;
}

/** Policies as they are at one moment, indexed by service. */
export class PolicySet {
  /** In the order of service, method and id. */
  readonly rules: readonly AccessRule[];
  readonly #byService = new Map<string, Compiled[]>();
  readonly #byPattern: Compiled[] = [];

  constructor(rules: Iterable<AccessRule>) {
    this.rules = [...rules].sort(inOrder);
    for (const rule of this.rules) {
      const compiled = { rule, fitsService: patternTest(rule.service), fitsMethod: patternTest(rule.method) };
      if (!isExact(rule.service)) this.#byPattern.push(compiled);
      else this.#byService.set(rule.service, [...(this.#byService.get(rule.service) ?? []), compiled]);
    }
  }

  /** The rules that apply to a method, compiled; worth keeping for as long as the set is in force. */
  slice({ environment, serviceId, method }: AccessTarget): MethodSlice {
    const fitting = this.#ofService(environment, serviceId).filter(({ fitsMethod }) => fitsMethod(method));
    return new MethodSlice(fitting.map(({ rule }) => rule));
  }

  /** What the policies say of a call. */
  judge(subject: AccessSubject, target: AccessTarget): AccessVerdict {
    return this.slice(target).judge(subject);
  }

  /**
   * What the policies say of all methods of a service together, those included that nobody knows: allowed only by a rule
   * for every method, and not if any of them is denied.
   */
  judgeService(subject: AccessSubject, { environment, serviceId }: Omit<AccessTarget, "method">): AccessVerdict {
    const rules = this.#ofService(environment, serviceId).map(({ rule }) =>
      rule.method === ANYBODY ? rule : { ...rule, allowedRoles: [] },
    );
    return new MethodSlice(rules).judge(subject);
  }

  #ofService(environment: string, serviceId: string): Compiled[] {
    const named = this.#byService.get(serviceId) ?? [];
    const fitting = this.#byPattern.filter(({ fitsService }) => fitsService(serviceId));
    return [...named, ...fitting].filter(({ rule }) => rule.environment === "" || rule.environment === environment);
  }
}

function inOrder(a: AccessRule, b: AccessRule): number {
  const [left, right] = [a, b].map(({ service, method, id }) => `${service}\0${method}\0${id}`) as [string, string];
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
