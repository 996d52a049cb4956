export { CHAIN_START, chainMac, EpochKeys, keyId, nextEpochKey, shardKey } from "./chain.ts";
export {
  type Checkpoint,
  type CheckpointShard,
  CheckpointSigner,
  checkpointHash,
  publicKeyId,
  readCheckpoint,
} from "./checkpoint.ts";
export { CheckpointBook } from "./checkpoint-book.ts";
export { checkpointFiles, checkpointLines } from "./checkpoint-lines.ts";
export { auditEventBytes, type ChainPlace, placedEventBytes } from "./event-bytes.ts";
export { eventCode } from "./event-code.ts";
export { type EventColumns, eventColumns } from "./event-columns.ts";
export {
  type AuditKeys,
  auditKeysSealedBy,
  openAuditKeys,
  PUBLIC_KEY_FILE,
  readVerificationRoot,
  resealAuditKeys,
  verificationRootPath,
} from "./key-files.ts";
export { LOG_SHARD } from "./log-shard.ts";
export { type LogFinding, type LogReport, type LogRow, LogVerifier, type VerifyLogOptions } from "./log-verifier.ts";
