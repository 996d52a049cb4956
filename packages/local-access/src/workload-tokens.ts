import { createHmac, timingSafeEqual } from "node:crypto";
import type { Principal } from "@hms/kernel";
import { remembered } from "./remembered.ts";
import type { TokenSource } from "./token-identity.ts";
import { isWorkload, type Workload, workloadPrincipal } from "./workload-principal.ts";

const FORM = "hmsw1";
const LONGEST = 512;

/** Makes and knows the tokens of deployed services. */
export interface WorkloadTokens extends TokenSource {
  /** The token of a deployed service; always the same for the same key. */
  mint(workload: Workload): string;
}

/**
 * Tokens that need no store: "hmsw1.", whose it is, and an HMAC-SHA256 over both by the key (64 hexadecimal digits, see
 * `ensureToken`). They hold until the key is replaced.
 */
export function createWorkloadTokens(key: string): WorkloadTokens {
  const secret = Buffer.from(key, "hex");
  const sign = (text: string) => createHmac("sha256", secret).update(text).digest("base64url");
  const principalOf = remembered((token): Principal | undefined => {
    if (token.length > LONGEST) return undefined;
    const [form, payload, shown, ...more] = token.split(".");
    if (form !== FORM || payload === undefined || shown === undefined || more.length > 0) return undefined;
    const [a, b] = [Buffer.from(sign(`${form}.${payload}`)), Buffer.from(shown)];
    if (a.length !== b.length || !timingSafeEqual(a, b)) return undefined;
    const { env: environment, svc: name } = JSON.parse(Buffer.from(payload, "base64url").toString());
    return isWorkload({ environment, name }) ? workloadPrincipal({ environment, name }) : undefined;
  });
  return {
    principalOf,
    mint({ environment, name }) {
      const payload = Buffer.from(JSON.stringify({ env: environment, svc: name })).toString("base64url");
      return `${FORM}.${payload}.${sign(`${FORM}.${payload}`)}`;
    },
  };
}
