import { createMongoAbility, type MongoAbility } from "@casl/ability";
import { newEnforcer, newModelFromString, StringAdapter } from "casbin";
import type { Question, Rule } from "./workload.ts";

const MODEL = `
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act
`;

/** CASL: an ability of the rules of a user's roles, made once for each user or for each question. */
export function openCasl(rules: readonly Rule[]) {
  const made = new Map<string, MongoAbility>();
  const abilityOf = (roles: readonly string[]) =>
    createMongoAbility(
      rules
        .filter(({ role }) => roles.includes(role))
        .map(({ service, method }) => ({ action: method, subject: service })),
    );
  return {
    decide({ user, roles, service, method }: Question): boolean {
      const ability = made.get(user) ?? abilityOf(roles);
      made.set(user, ability);
      return ability.can(method, service);
    },
    first: ({ roles, service, method }: Question): boolean => abilityOf(roles).can(method, service),
  };
}

/** Casbin: its RBAC model with all rules and every user's roles. */
export async function openCasbin(rules: readonly Rule[], questions: readonly Question[]) {
  const policies = rules.map(({ role, service, method }) => `p, ${role}, ${service}, ${method}`);
  const groups = questions.flatMap(({ user, roles }) => roles.map((role) => `g, ${user}, ${role}`));
  const enforcer = await newEnforcer(newModelFromString(MODEL), new StringAdapter([...policies, ...groups].join("\n")));
  return { decide: ({ user, service, method }: Question): boolean => enforcer.enforceSync(user, service, method) };
}
