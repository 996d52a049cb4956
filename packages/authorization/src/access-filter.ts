import type { FilterQuestion, ResourceFilter, ResourceRow } from "@hms/kernel";
import { subjectOf } from "./access-subject.ts";
import { resourceEntity } from "./entities.ts";
import { partialAnswer } from "./partial-answer.ts";
import type { PolicySet } from "./policy-set.ts";
import { isConstant } from "./residual-predicate.ts";

/** Lets everything through. */
export const everyResource: ResourceFilter = Object.freeze({ scope: "all", where: { all: [] }, allows: () => true });

/**
 * Which things of the platform a principal may use: decided for each row, but once for all rows of an environment where no
 * policy looks at them.
 */
export function filterOf(question: FilterQuestion, set: PolicySet): ResourceFilter {
  const { principal, permission, transport = "in-process" } = question;
  const slice = set.platformSlice(permission);
  const subject = subjectOf(principal);
  const where = partialAnswer(slice.policies, { subject, permission, transport });
  const [kind = ""] = permission.split(":");
  const made = new Map<string, boolean>();
  const judge = ({ name, environment, facts = {} }: ResourceRow) => {
    const { owner, ...more } = facts;
    const entity = resourceEntity({ kind, name, environment }, { ...more, ...(owner ? { owner } : {}) });
    const own = set.resourceSlice(permission, { kind, name, environment });
    return own.judge({ subject, permission, resource: entity, environment, transport }).allowed;
  };
  return {
    scope: isConstant(where, false) ? "none" : "some",
    where,
    allows(row) {
      if (slice.reads.resource) return judge(row);
      const known = made.get(row.environment) ?? judge(row);
      made.set(row.environment, known);
      return known;
    },
  };
}
