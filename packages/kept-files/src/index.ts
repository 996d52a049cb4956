export { openRecordFile, type RecordFile } from "./record-file.ts";
export { keepFile } from "./whole-file.ts";
