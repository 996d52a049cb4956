import type { RunPrincipal } from "@hms/durable";
import type { Principal } from "@hms/kernel";
import { principalGone } from "./errors.ts";

/** A principal of an earlier call as it is now; undefined if it may not come in any more. */
export type CurrentPrincipal = (principal: Principal) => Principal | undefined | Promise<Principal | undefined>;

/**
 * What a run keeps of who started it: who it is and the limits of what it has shown. Roles and groups of people are looked up
 * when a step is done, and the same person with a new session asks for the same.
 */
export function keptPrincipal(principal: Principal): RunPrincipal {
  const { login: _, methods: __, endsAtMs: ___, authenticatedAtMs: ____, roles, groups, ...kept } = principal;
  return principal.kind === "user" ? kept : { ...kept, ...(roles ? { roles } : {}), ...(groups ? { groups } : {}) };
}

/** Who a run works for, as it is now. @throws HmsError PERMISSION_DENIED if it may not come in any more. */
export async function principalNow(current: CurrentPrincipal, kept: RunPrincipal): Promise<Principal> {
  const principal = await current(kept as unknown as Principal);
  if (principal === undefined) throw principalGone(kept as unknown as Principal);
  return principal;
}
