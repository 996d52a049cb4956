import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { agent } from "@hms/contracts";
import { checkName, parseReplicaId } from "../replica/replica-name.ts";
import { type FoundRecord, queryLogs } from "./log-query.ts";
import type { LogStore } from "./log-store.ts";

/** Answers ReadLogs: batches of lines merged by time, one message that says "caught up", then new lines if asked. */
export async function* readLogs(
  store: LogStore,
  request: agent.ReadLogsRequest,
  signal?: AbortSignal,
): AsyncGenerator<agent.ReadLogsResponse> {
  const { environment, service, replicaId, tail, since, contains, follow } = request;
  if (environment) checkName("environment", environment);
  if (service) checkName("service", service);
  if (replicaId) parseReplicaId(replicaId);
  const sinceMs = since ? timestampMs(since) : 0;
  const query = { environment, service, replicaId, tail, sinceMs, contains, follow };
  for await (const { records, caughtUp } of queryLogs(store, query, signal)) {
    yield create(agent.ReadLogsResponseSchema, { lines: records.map(lineMessage), caughtUp });
  }
}

function lineMessage({ log, record }: FoundRecord): agent.LogLine {
  return create(agent.LogLineSchema, {
    replicaId: log.replicaId,
    revision: log.revision,
    time: timestampFromMs(record.timeMs),
    stream: record.stream,
    text: record.text.toString(),
    continues: record.continues,
  });
}
