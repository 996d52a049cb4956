import { judgeQuestion } from "./access-question.ts";
import type { AccessSubject, AccessTarget } from "./access-verdict.ts";
import type { PolicyBook } from "./policy-book.ts";
import type { PolicySet, ResourceTarget } from "./policy-set.ts";

/** Who wants to do what. */
export interface Asked {
  subject: AccessSubject;
  target: AccessTarget | ResourceTarget;
}

interface Change extends Asked {
  words: string;
}

const MOST_ROLES = 200;
const ROLE = /Role::"([^"\\]+)"/g;

function rolesIn(set: PolicySet, target: Asked["target"]): string[] {
  const { policies } = "permission" in target ? set.platformSlice(target.permission) : set.slice(target);
  const permits = policies.filter(({ effect }) => effect === "permit");
  const names = permits.flatMap(({ text }) => [...text.matchAll(ROLE)].flatMap(([, role]) => role ?? []));
  return [...new Set(names)].sort().slice(0, MOST_ROLES);
}

function possibleChanges(set: PolicySet, { subject, target }: Asked): Change[] {
  const changes: Change[] = [];
  if (!subject.mfa || subject.mfaAgeS !== 0)
    changes.push({
      words: subject.mfa ? "with a second factor shown now" : "with a second factor",
      subject: { ...subject, mfa: true, mfaAgeS: 0 },
      target,
    });
  const { environment, ...anywhere } = subject;
  if (environment !== undefined)
    changes.push({ words: "from the service's own environment", subject: anywhere, target });
  for (const role of rolesIn(set, target)) {
    if (subject.roles.includes(role)) continue;
    changes.push({ words: `with the role ${role}`, subject: { ...subject, roles: [...subject.roles, role] }, target });
  }
  for (const role of subject.roles) {
    const roles = subject.roles.filter((other) => other !== role);
    changes.push({ words: `without the role ${role}`, subject: { ...subject, roles }, target });
  }
  if ("permission" in target) {
    const facts = { ...target.facts, owner: `${subject.kind ?? "user"}:${subject.id ?? ""}` };
    changes.push({ words: "as the owner of it", subject, target: { ...target, facts } });
  }
  return changes;
}

/** What would allow a call that is denied: changes of which each alone is enough, each tried by deciding again. */
export function allowingChanges(book: Pick<PolicyBook, "components">, set: PolicySet, asked: Asked): string[] {
  if (asked.subject.kind === "operator" || asked.subject.kind === "component") return [];
  return possibleChanges(set, asked).flatMap(({ words, ...change }) =>
    judgeQuestion(book, set, change).allowed ? [words] : [],
  );
}
