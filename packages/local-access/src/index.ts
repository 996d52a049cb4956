export { createLocalPolicy, type Grants } from "./local-policy.ts";
export { ensureToken, readToken } from "./token-file.ts";
export { createTokenIdentity } from "./token-identity.ts";
