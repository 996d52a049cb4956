import type { FilterQuestion, ResourceFilter, ResourcePredicate, ResourceRow } from "@hms/kernel";
import { subjectOf } from "./access-subject.ts";
import { resourceEntity } from "./entities.ts";
import { partialAnswer } from "./partial-answer.ts";
import type { PolicySet } from "./policy-set.ts";

/** What hears of policies that could not be evaluated. */
export type OnPolicyErrors = (errors: readonly string[]) => void;

const ALL: ResourcePredicate = { all: [] };
const NONE: ResourcePredicate = { any: [] };
/** Rows name their environments; more of them than this are not remembered at once. */
const MOST_ENVIRONMENTS = 1000;

/**
 * Which things of the platform a principal may use: decided for each row, but once for all rows of an environment where no
 * policy looks at them. What a database is asked for is found out when it is first wanted.
 */
export function filterOf(
  question: FilterQuestion,
  set: PolicySet,
  onErrors: OnPolicyErrors = () => {},
): ResourceFilter {
  const { principal, permission, transport = "in-process" } = question;
  const slice = set.platformSlice(permission);
  const subject = subjectOf(principal);
  const [kind = ""] = permission.split(":");
  const made = new Map<string | undefined, boolean>();
  const judge = ({ name, environment: place, facts = {} }: ResourceRow) => {
    const environment = place === "" ? undefined : place;
    const { owner, ...more } = facts;
    const entity = resourceEntity({ kind, name, environment }, { ...more, ...(owner ? { owner } : {}) });
    const own = set.resourceSlice(permission, { kind, name, environment });
    const verdict = own.judge({ subject, permission, resource: entity, environment, transport });
    if (verdict.errors.length > 0) onErrors(verdict.errors);
    return verdict.allowed;
  };
  const allows = (row: ResourceRow) => {
    if (slice.reads.resource) return judge(row);
    const known = made.get(row.environment) ?? judge(row);
    if (made.size >= MOST_ENVIRONMENTS) made.clear();
    made.set(row.environment, known);
    return known;
  };
  const partial = (isPlaced: boolean) => partialAnswer(slice.policies, { subject, permission, transport, isPlaced });
  let where: ResourcePredicate | undefined;
  let whereUnplaced: ResourcePredicate | undefined;
  return {
    allows,
    get where() {
      where ??= partial(true);
      return where;
    },
    get whereUnplaced() {
      // Without an environment there is nothing left to tell rows apart by, unless a policy looks at them.
      const anyOther = { name: "", environment: undefined };
      whereUnplaced ??= slice.reads.resource ? partial(false) : allows(anyOther) ? ALL : NONE;
      return whereUnplaced;
    },
  };
}
