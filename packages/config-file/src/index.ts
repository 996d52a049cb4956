export { type ConfigFile, type ConfigFileOptions, openConfigFile } from "./open-config-file.ts";
export { openOutgoingFile, parseOutgoing } from "./outgoing-file.ts";
export { readRecords } from "./read-records.ts";
export type { RecordReader } from "./record-reader.ts";
