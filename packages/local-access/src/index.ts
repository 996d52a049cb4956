export { type KeyFile, openKeyFile } from "./key-file.ts";
export { createKnownPrincipals } from "./known-principal.ts";
export { limitStrangers } from "./limit-strangers.ts";
export { createLocalPolicy, type Grants } from "./local-policy.ts";
export { certifiedPrincipals, createPeerPrincipals } from "./peer-principal.ts";
export { ensurePlatformHost, readPlatformHost } from "./platform-host.ts";
export {
  createWorkloadKeyReplacement,
  type WorkloadKeyReplacement,
} from "./replace-workload-key.ts";
export { keyFilesSealedBy, resealKeyFiles } from "./sealed-key-file.ts";
export { ensureSealedToken, ensureToken, readToken, showSealedToken } from "./token-file.ts";
export { type AccountSource, createTokenIdentity, type TokenSource } from "./token-identity.ts";
export { oldWorkloadKeyPath, openWorkloadKeys } from "./workload-keys.ts";
export { type Workload, workloadPrincipal } from "./workload-principal.ts";
export { createWorkloadTokens, type WorkloadTokens } from "./workload-tokens.ts";
