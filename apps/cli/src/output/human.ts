import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampMs } from "@bufbuild/protobuf/wkt";

/** A duration as people say it: "850 ms", "1.2 s", "3 m 05 s", "2 h 10 m". */
export function humanDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${String(seconds % 60).padStart(2, "0")} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} m`;
  return `${Math.floor(minutes / 1440)} d`;
}

/** How long ago, "3 m 05 s ago"; "-" if unknown. */
export function humanAge(time: Timestamp | undefined, now = Date.now()): string {
  return time === undefined ? "-" : `${humanDuration(Math.max(0, now - timestampMs(time)))} ago`;
}

/** Bytes as "12 MiB". */
export function humanBytes(bytes: number | bigint): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** The name of an enum value without its prefix, lower case: "rolled back". */
export function enumWord(names: object, value: number): string {
  const entry = Object.entries(names).find(([, number]) => number === value);
  return (entry?.[0] ?? "unknown").toLowerCase().replaceAll("_", " ");
}
