/** A role and what who has it may do. */
export interface RoleDefinition {
  /** "operator". */
  readonly name: string;
  /** "jobs:execute"; "jobs:*" for all of a noun, "*" for everything. */
  readonly permissions: readonly string[];
}

/** Knows which permissions roles stand for. */
export interface RoleBook {
  /** Every role there is now. */
  readonly roles: readonly RoleDefinition[];
  /** Calls back after each change, until the signal aborts. */
  follow(changed: () => void, signal?: AbortSignal): void;
}
