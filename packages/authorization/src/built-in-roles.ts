import type { RoleBook, RoleDefinition } from "./role-book.ts";

const EVERY_ROLE = [
  "services:read",
  "registry:read",
  "operations:read",
  "jobs:read",
  "targets:read",
  "executions:read",
  "runs:read",
];

const DEPLOYER = [
  "secrets:read",
  "secrets:use",
  "services:deploy",
  "services:scale",
  "services:logs",
  "mesh:read",
  "operations:*",
  "events:*",
  "runs:start",
  "runs:control",
  "runs:logs",
];

/**
 * The five roles of OpsConductor with their permissions, and what these mean for the platform as it is: who may change and
 * run jobs may deploy and scale services, who may delete them may remove services, who may do everything with them may run
 * commands inside services.
 */
export const builtInRoles: readonly RoleDefinition[] = Object.freeze([
  { name: "admin", permissions: ["*"] },
  {
    name: "manager",
    permissions: [
      ...EVERY_ROLE,
      ...DEPLOYER,
      "services:freeze",
      "policies:read",
      "runs:decide",
      "jobs:create",
      "jobs:update",
      "jobs:execute",
      "targets:create",
      "targets:update",
      "users:read",
      "groups:read",
      "roles:read",
      "step-libraries:read",
    ],
  },
  {
    name: "operator",
    permissions: [
      ...EVERY_ROLE,
      ...DEPLOYER,
      "secrets:write",
      "services:run",
      "services:freeze",
      "services:delete",
      "registry:import",
      "metrics:read",
      "policies:read",
      "runs:decide",
      "jobs:*",
      "targets:*",
      "step-libraries:read",
    ],
  },
  {
    name: "developer",
    permissions: [
      ...EVERY_ROLE,
      ...DEPLOYER,
      "jobs:create",
      "jobs:update",
      "jobs:execute",
      "step-libraries:read",
      "step-libraries:create",
      "step-libraries:update",
    ],
  },
  { name: "viewer", permissions: EVERY_ROLE },
]);

/** A book of roles that never changes. */
export function fixedRoles(roles: readonly RoleDefinition[] = builtInRoles): RoleBook {
  return { roles, follow: () => {} };
}
