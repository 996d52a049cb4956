export { openText, sealText, textSealedBy } from "./sealed-text.ts";
export { openExistingSealingKey, openSealingKey, type SealingKey, sealedBy } from "./sealing-key.ts";
export { readSecretFile } from "./secret-file.ts";
export { type MaskedStream, SecretMask } from "./secret-mask.ts";
export { type ServiceSecretVersion, serviceSecretContext } from "./service-secret.ts";
