import { ffiOptions } from "@hms/contracts";
import type { Principal } from "@hms/kernel";
import { type CompiledPolicy, type PolicyReads, READS_NOTHING } from "./compiled-policy.ts";
import { PRINCIPAL_TYPES } from "./entities.ts";
import type { RoleDefinition } from "./role-book.ts";

/** What roles, kinds of principals and parts of the platform may do. */
export interface Grants {
  readonly roles: readonly RoleDefinition[];
  /** By the kind of principal. */
  readonly kinds: Readonly<Partial<Record<Principal["kind"], readonly string[]>>>;
  /** By the id of the component. */
  readonly components: Readonly<Record<string, readonly string[]>>;
}

const READS_IDENTITY: PolicyReads = Object.freeze({ ...READS_NOTHING, identity: true });

const escaped = (text: string) =>
  JSON.stringify(text).replace(/\\u([0-9a-f]{4})/g, (_, code: string) => `\\u{${code}}`);

interface Grant {
  id: string;
  /** The head's principal. */
  to: string;
  permissions: readonly string[];
  reads?: PolicyReads;
}

function permit({ id, to, permissions, reads = READS_NOTHING }: Grant): CompiledPolicy[] {
  if (permissions.length === 0) return [];
  const isAll = permissions.includes("*");
  const list = permissions.map((permission) => `Action::${escaped(permission)}`).join(", ");
  return [
    {
      id,
      effect: "permit",
      text: `permit (${to}, ${isAll ? "action" : `action in [${list}]`}, resource);`,
      scope: isAll ? {} : { permissions },
      reads,
      auditLevel: ffiOptions.AuditLevel.UNSPECIFIED,
    },
  ];
}

/** Permissions whose services know themselves what who lives in an environment may do with them. */
const JUDGED_BY_SERVICES = [
  "registry:read",
  "registry:register",
  "operations:*",
  "events:*",
  "profile:own",
  "sessions:own",
  "keys:own",
];

/**
 * Who lives in an environment acts there only, whatever its roles are called: they mean nothing elsewhere, nor for what
 * belongs to no environment.
 */
const OTHER_ENVIRONMENT: CompiledPolicy = {
  id: "built-in:other-environment",
  ofEnvironments: true,
  effect: "forbid",
  text:
    "forbid (principal, action, resource) when " +
    "{ principal has environment && !(context has environment && principal.environment == context.environment) } " +
    `unless { action in [${JUDGED_BY_SERVICES.map((each) => `Action::"${each}"`).join(", ")}] };`,
  scope: {},
  reads: READS_NOTHING,
  auditLevel: ffiOptions.AuditLevel.UNSPECIFIED,
};

/** What roles and kinds of principals may do, in Cedar. */
export function compileGrants({ roles, kinds }: Grants): CompiledPolicy[] {
  const ofRoles = roles.flatMap(({ name, permissions }) =>
    permit({ id: `role:${name}`, to: `principal in Role::${escaped(name)}`, permissions }),
  );
  const ofKinds = Object.entries(kinds).flatMap(([kind, permissions]) =>
    permit({ id: `kind:${kind}`, to: `principal is ${PRINCIPAL_TYPES[kind as Principal["kind"]]}`, permissions }),
  );
  return [OTHER_ENVIRONMENT, ...ofRoles, ...ofKinds];
}

/** What parts of the platform may do, in Cedar. */
export function compileComponents({ components }: Grants): CompiledPolicy[] {
  return Object.entries(components).flatMap(([id, permissions]) =>
    permit({ id: `component:${id}`, to: `principal == Component::${escaped(id)}`, permissions, reads: READS_IDENTITY }),
  );
}
