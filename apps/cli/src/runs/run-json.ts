import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { automationRuns } from "@hms/contracts";
import { anyTypesOf } from "@hms/kernel";

const registry = anyTypesOf(automationRuns.file_hms_automation_v1_runs);

/** A run as JSON, with the details of its nodes' errors. */
export const runJson = (run: automationRuns.Run): JsonValue =>
  toJson(automationRuns.RunSchema, run, { alwaysEmitImplicit: true, registry });

/** What has happened to a run as JSON. */
export const watchJson = (answer: automationRuns.WatchRunResponse): JsonValue =>
  toJson(automationRuns.WatchRunResponseSchema, answer, { registry });
