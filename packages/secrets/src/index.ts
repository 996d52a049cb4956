export { openSealingKey, type SealingKey } from "./sealing-key.ts";
