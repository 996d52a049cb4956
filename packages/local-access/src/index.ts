export { type KeyFile, openKeyFile } from "./key-file.ts";
export { createKnownPrincipals } from "./known-principal.ts";
export { createLocalPolicy, type Grants } from "./local-policy.ts";
export { createPeerPrincipals } from "./peer-principal.ts";
export { ensurePlatformHost, readPlatformHost } from "./platform-host.ts";
export { ensureToken, readToken } from "./token-file.ts";
export { type AccountSource, createTokenIdentity, type TokenSource } from "./token-identity.ts";
export type { Workload } from "./workload-principal.ts";
export { createWorkloadTokens, type WorkloadTokens } from "./workload-tokens.ts";
