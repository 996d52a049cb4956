import { setTimeout as delay } from "node:timers/promises";
import type { policy } from "@hms/contracts";
import { type Client, HmsError } from "@hms/kernel";
import type { AccessRule } from "./access-rule.ts";
import type { PolicyBook } from "./policy-book.ts";

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

/** Whose policies are followed, and where they are put in force. */
export interface FollowPoliciesOptions {
  policies: Pick<Client<typeof policy.PolicyService>, "watchPolicies">;
  book: PolicyBook;
  /** Hears why the watch broke; it begins anew, and what was known stays in force. */
  onFailure: (failure: HmsError) => void;
}

/** Keeps the stored policies of a registry in another process in force here, until it is disposed. */
export function followPolicies({ policies, book, onFailure }: FollowPoliciesOptions): AsyncDisposable {
  const end = new AbortController();
  const { signal } = end;
  const follow = async () => {
    for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        for await (const { policies: stored } of policies.watchPolicies({}, { signal })) {
          book.replace("stored", stored.map(ruleOf));
          pauseMs = FIRST_PAUSE_MS;
        }
      } catch (error) {
        if (!signal.aborted) onFailure(HmsError.from(error));
      }
      await delay(pauseMs, undefined, { signal }).catch(() => {});
    }
  };
  const following = follow();
  return {
    async [Symbol.asyncDispose]() {
      end.abort();
      await following;
    },
  };
}

function ruleOf({ policyId, service, method, environment, ...rest }: policy.AccessPolicy): AccessRule {
  const { allowedRoles, deniedRoles, requiresMfa, mfaMaxAge, auditLevel, description, author, cedar } = rest;
  const factor = { requiresMfa, ...(mfaMaxAge === undefined ? {} : { mfaMaxAgeS: Number(mfaMaxAge.seconds) }) };
  const words = { description, author, ...(cedar === "" ? {} : { cedar }) };
  return { id: policyId, service, method, environment, allowedRoles, deniedRoles, ...factor, auditLevel, ...words };
}
