export { openSealingKey, type SealingKey, sealedBy } from "./sealing-key.ts";
