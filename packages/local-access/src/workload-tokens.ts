import { createHmac, timingSafeEqual } from "node:crypto";
import type { Principal } from "@hms/kernel";
import type { TokenSource } from "./token-identity.ts";
import type { WorkloadKeySource } from "./workload-keys.ts";
import { isWorkload, type Workload, workloadPrincipal } from "./workload-principal.ts";

const FORM = "hmsw1";
const LONGEST = 512;
const MOST_REMEMBERED = 10_000;
/** Keys are looked for no more often, however many tokens nobody knows are shown: milliseconds. */
const LOOK_EVERY_MS = 1000;

/** Makes and knows the tokens of deployed services. */
export interface WorkloadTokens extends TokenSource {
  /** The token of a deployed service; always the same for the same key. */
  mint(workload: Workload): string;
  /** Who has shown a token by an old key to this process, "ENVIRONMENT/NAME", and when last, by `Date.now()`. */
  readonly oldUses: ReadonlyMap<string, number>;
}

interface Known {
  readonly principal: Principal;
  readonly isOld: boolean;
}

/**
 * Tokens that need no store: "hmsw1.", whose it is, and an HMAC-SHA256 over both by the key (64 hexadecimal digits). They hold
 * until their key is forgotten; of several keys the first one signs and all verify.
 */
export function createWorkloadTokens(source: string | WorkloadKeySource): WorkloadTokens {
  const keys = typeof source === "string" ? { all: [source], look() {} } : source;
  const known = new Map<string, Known>();
  const oldUses = new Map<string, number>();
  let verifiedBy: readonly string[] = [];
  let lookedAt = Number.NEGATIVE_INFINITY;

  const verify = (token: string): Known | undefined => {
    const [form, payload, shown, ...more] = token.split(".");
    if (form !== FORM || payload === undefined || shown === undefined || more.length > 0) return undefined;
    const at = keys.all.findIndex((key) => isSame(sign(key, `${form}.${payload}`), shown));
    if (at === -1) return undefined;
    const { env: environment, svc: name } = JSON.parse(Buffer.from(payload, "base64url").toString());
    if (!isWorkload({ environment, name })) return undefined;
    return { principal: workloadPrincipal({ environment, name }), isOld: at > 0 };
  };
  const find = (token: string): Known | undefined => {
    if (verifiedBy !== keys.all) {
      known.clear();
      verifiedBy = keys.all;
    }
    const found = known.get(token) ?? verify(token);
    if (found !== undefined && !known.has(token)) {
      if (known.size >= MOST_REMEMBERED) known.clear();
      known.set(token, found);
    }
    return found;
  };
  /** By a key that another process has made a moment ago. */
  const findByNewKey = (token: string): Known | undefined => {
    const now = performance.now();
    if (!token.startsWith(`${FORM}.`) || now - lookedAt < LOOK_EVERY_MS) return undefined;
    lookedAt = now;
    keys.look();
    return keys.all === verifiedBy ? undefined : find(token);
  };
  return {
    oldUses,
    principalOf(token) {
      if (token.length > LONGEST) return undefined;
      const found = find(token) ?? findByNewKey(token);
      if (found?.isOld) oldUses.set(found.principal.id, Date.now());
      return found?.principal;
    },
    mint({ environment, name }) {
      keys.look();
      const payload = Buffer.from(JSON.stringify({ env: environment, svc: name })).toString("base64url");
      return `${FORM}.${payload}.${sign(keys.all[0] ?? "", `${FORM}.${payload}`)}`;
    },
  };
}

const sign = (key: string, text: string) =>
  createHmac("sha256", Buffer.from(key, "hex")).update(text).digest("base64url");

function isSame(expected: string, shown: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(shown)];
  return a.length === b.length && timingSafeEqual(a, b);
}
