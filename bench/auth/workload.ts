import { type AccessRule, createAccessPolicy, PolicyBook } from "@hms/authorization";
import type { MethodEntry, Principal } from "@hms/kernel";

const ROLES = 20;
const METHODS = 5;

/** One question: who wants to call what. */
export interface Question {
  user: string;
  roles: readonly string[];
  service: string;
  method: string;
}

/** One rule: who has the role may call the method. */
export interface Rule {
  role: string;
  service: string;
  method: string;
}

/** So many rules over 20 roles, each about one method of one service. */
export function rulesOf(count: number): Rule[] {
  return Array.from({ length: count }, (_, i) => ({
    role: `role-${(i * 7) % ROLES}`,
    service: `hms.s${Math.floor(i / METHODS)}.api`,
    method: `Method${i % METHODS}`,
  }));
}

/** So many different users with three roles each, who ask about the methods of the rules. */
export function questionsOf(rules: readonly Rule[], count: number): Question[] {
  return Array.from({ length: count }, (_, i) => {
    const { service, method } = rules[(i * 31) % rules.length] as Rule;
    return { user: `user-${i}`, roles: [i, i + 3, i + 11].map((n) => `role-${n % ROLES}`), service, method };
  });
}

/** Our decisions: from the cache, by the engine for a method, and by the engine with a policy for each thing. */
export function openHms(rules: readonly Rule[], questions: readonly Question[]) {
  const book = new PolicyBook();
  book.replace("file", []);
  const plain = { requiresMfa: false, auditLevel: 0 as const, environment: "", deniedRoles: [] };
  const json = rules.map(({ role, service, method }, i): AccessRule => {
    return { ...plain, id: `j${i}`, service, method, allowedRoles: [role] };
  });
  const cedar = rules.map(
    ({ role }, i): AccessRule => ({
      ...plain,
      id: `c${i}`,
      service: "*",
      method: "*",
      allowedRoles: [],
      cedar: `permit (principal in Role::"${role}", action == Action::"services:deploy", resource == Resource::"services/default/svc-${i}") when { resource has owner && resource.owner != principal.name };`,
    }),
  );
  book.replace("stored", [...json, ...cedar]);
  const policy = createAccessPolicy(book, { factsOf: () => ({ owner: "user:nobody" }) });
  const entries = new Map<string, MethodEntry>();
  const entryOf = ({ service, method }: Question): MethodEntry => {
    const name = `${service}/${method}`;
    const entry = { environment: "default", desc: { name: method }, rule: { resource: service } };
    const known = entries.get(name) ?? (entry as unknown as MethodEntry);
    entries.set(name, known);
    return known;
  };
  const deploy = { rule: { permission: "services:deploy" } } as unknown as MethodEntry;
  const asked = questions.map((question, i) => {
    const { user: id, roles, service: serviceId, method } = question;
    const principal: Principal = { kind: "user", id, roles };
    return {
      call: { principal, permission: "services:call", resource: "", method: entryOf(question) },
      subject: { kind: "user", id, roles, mfa: false, known: true } as const,
      target: { environment: "default", serviceId, method },
      thing: {
        principal,
        permission: "services:deploy",
        resource: `svc-${i % rules.length}`,
        environment: "default",
        method: deploy,
      },
    };
  });
  type Asked = (typeof asked)[number];
  const at = (index: number) => asked[index % asked.length] as Asked;
  return {
    cached: (index: number) => policy.decide(at(index).call),
    engine: (index: number) => book.current.judge(at(index).subject, at(index).target).allowed,
    thing: (index: number) => policy.decide(at(index).thing),
  };
}
