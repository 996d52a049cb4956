import { HmsError } from "@hms/kernel";
import { changedSince } from "./errors.ts";
import type { ServiceRecord } from "./service-record.ts";

/** The revision that a request is made for, if it says one. */
export function expectedOf({ expectedRevision }: { expectedRevision?: bigint | number | undefined }): {
  expectedRevision?: number;
} {
  return expectedRevision === undefined ? {} : { expectedRevision: Number(expectedRevision) };
}

/** @throws HmsError FAILED_PRECONDITION if a request is made for another revision than the one that serves */
export function refuseChanged(
  record: Pick<ServiceRecord, "service" | "currentRevision">,
  { expectedRevision: expected = record.currentRevision }: { expectedRevision?: number },
): void {
  if (expected === record.currentRevision) return;
  const { reason, remedy } = changedSince(record, expected);
  throw new HmsError("FAILED_PRECONDITION", `${reason} ${remedy}`, { reason: "CHANGED_SINCE" });
}
