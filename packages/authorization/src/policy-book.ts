import { HmsError } from "@hms/kernel";
import type { AccessRule } from "./access-rule.ts";
import { fixedRoles } from "./built-in-roles.ts";
import { compileComponents, compileGrants, type Grants } from "./compile-grants.ts";
import { PolicySet } from "./policy-set.ts";
import { checkPolicyTests } from "./policy-tests.ts";
import type { RoleBook } from "./role-book.ts";
import { newlyWithout, takenAway } from "./taken-away.ts";

/** Where policies come from. */
export type PolicyOrigin = "file" | "stored";

/** What a book starts with. */
export interface PolicyBookOptions {
  /** Default: the five built-in roles. */
  roles?: RoleBook;
  /** What kinds of principals may do; default nothing. */
  kinds?: Grants["kinds"];
  /** What parts of the platform may do, by id; default nothing. */
  components?: Grants["components"];
  /** Hears of which services somebody may call less because a role has changed, given as patterns of ids. */
  onRolesTakenAway?: (services: readonly string[]) => void;
}

/**
 * All policies in force: those of the file, those stored, those of roles and grants; replaced as wholes, so that a decision
 * never sees half a change.
 */
export class PolicyBook {
  /** What parts of the platform may do: known from the start, and no policy of others can change it. */
  readonly components: PolicySet;
  readonly #options: PolicyBookOptions;
  readonly #roleBook: RoleBook;
  #roles: RoleBook["roles"];
  readonly #origins = new Map<PolicyOrigin, readonly AccessRule[]>();
  #current: PolicySet | undefined;
  #revision = 0;

  constructor(options: PolicyBookOptions = {}) {
    this.#options = options;
    this.#roleBook = options.roles ?? fixedRoles();
    this.#roles = this.#roleBook.roles;
    this.components = new PolicySet([], compileComponents(this.#grants));
    this.#roleBook.follow(() => this.#rolesChanged());
  }

  get #grants(): Grants {
    const { kinds = {}, components = {} } = this.#options;
    return { roles: this.#roles, kinds, components };
  }

  /**
   * The policies in force.
   * @throws HmsError UNAVAILABLE until both origins have been read: a denial might be missing.
   */
  get current(): PolicySet {
    if (this.#current !== undefined) return this.#current;
    throw new HmsError("UNAVAILABLE", "The access policies are still being read. Call again in a moment.", {
      reason: "POLICIES_NOT_READ",
      retryAfterMs: 500,
    });
  }

  /** Counts changes: what was decided under an earlier one says nothing any more. */
  get revision(): number {
    return this.#revision;
  }

  /** The rules of one origin; none until it has been read. */
  rulesOf(origin: PolicyOrigin): readonly AccessRule[] {
    return this.#origins.get(origin) ?? [];
  }

  /** The policies as they would be with other rules in the place of one origin's. */
  with(origin: PolicyOrigin, rules: readonly AccessRule[]): PolicySet {
    const all = new Map(this.#origins).set(origin, rules);
    return new PolicySet([...all.values()].flat(), compileGrants(this.#grants));
  }

  /**
   * Tries what the rules of one origin would change before they are put in force.
   * @throws HmsError INVALID_ARGUMENT if Cedar cannot read one, FAILED_PRECONDITION with every expectation that would not
   * be met; until both origins have been read nobody can say what would be
   */
  check(origin: PolicyOrigin, rules: readonly AccessRule[]): void {
    const next = this.with(origin, rules);
    if (this.#origins.size === 2) checkPolicyTests(this, next);
  }

  /**
   * Puts the rules of one origin in force. The answer: the services, as patterns of ids, of which somebody may call less
   * than before; tickets for them are to be revoked.
   * @throws HmsError INVALID_ARGUMENT if Cedar cannot read one; nothing changes then
   */
  replace(origin: PolicyOrigin, rules: readonly AccessRule[]): string[] {
    const before = this.#origins.get(origin);
    const next = this.with(origin, rules);
    this.#origins.set(origin, rules);
    if (this.#origins.size < 2) return [];
    this.#current = next;
    this.#revision++;
    return before === undefined ? [] : takenAway(before, rules);
  }

  #rolesChanged(): void {
    const lost = newlyWithout(this.#roles, this.#roleBook.roles);
    this.#roles = this.#roleBook.roles;
    if (this.#current === undefined) return;
    this.#current = new PolicySet([...this.#origins.values()].flat(), compileGrants(this.#grants));
    this.#revision++;
    if (lost) this.#options.onRolesTakenAway?.(["*"]);
  }
}
