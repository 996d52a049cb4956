import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { audit } from "@hms/contracts";
import { createClient, HmsError } from "@hms/kernel";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { presentList } from "../../output/present.ts";
import { parseCount, parseSince } from "../../parse-option.ts";

const { AuditService, AuditEventSchema, AuditOutcome } = audit;

const OUTCOMES: Readonly<Record<string, audit.AuditOutcome>> = {
  ok: AuditOutcome.OK,
  denied: AuditOutcome.DENIED,
  failed: AuditOutcome.FAILED,
};
const WORDS = Object.fromEntries(Object.entries(OUTCOMES).map(([word, value]) => [value, word]));

/** Lists audit events, newest first. */
export async function run({ options, session, output, signal }: Invocation): Promise<number> {
  const text = (name: string) => (typeof options[name] === "string" ? (options[name] as string) : "");
  const limit = parseCount("--limit", text("limit"), 1);
  const query = {
    actor: text("actor"),
    method: text("method"),
    outcome: outcomeOf(text("outcome")),
    resource: text("resource"),
    environment: text("in"),
    requestId: text("request"),
    traceId: text("trace"),
    code: text("code"),
    resourceType: text("type"),
    policyId: text("policy"),
    address: text("address"),
    credential: text("credential"),
    includeHeartbeats: options.heartbeats === true,
    ...(text("since") === "" ? {} : { startTime: timestampFromDate(parseSince(text("since"))) }),
    ...(text("until") === "" ? {} : { endTime: timestampFromDate(parseSince(text("until"))) }),
  };
  const client = createClient(AuditService, session().platform);
  const found: audit.AuditEvent[] = [];
  let isMore = false;
  for (let pageToken = ""; ; ) {
    const pageSize = Math.min(1000, limit - found.length);
    const page = await client.searchEvents({ ...query, pageSize, pageToken }, { signal });
    found.push(...page.events);
    pageToken = page.nextPageToken;
    isMore = pageToken !== "";
    if (!isMore || found.length >= limit) break;
  }
  presentList(output, {
    schema: AuditEventSchema,
    messages: found,
    head: ["TIME", "OUTCOME", "WHO", "METHOD", "RESOURCE", "ENVIRONMENT", "WHY NOT"],
    row,
    none: "Nothing in the audit log is like that.",
  });
  if (isMore)
    output.note(`There are more than these ${found.length}: raise --limit, or narrow it with --since and --until.`);
  return ExitCode.OK;
}

function row({ time, outcome, actor, service, method, resource, environment, reason }: audit.AuditEvent): string[] {
  return [
    time ? timestampDate(time).toISOString() : "",
    WORDS[outcome] ?? "",
    actor === undefined ? "" : `${actor.kind}:${actor.id}`,
    `${service.split(".").at(-1)}/${method}`,
    resource,
    environment,
    reason,
  ];
}

function outcomeOf(word: string): audit.AuditOutcome {
  if (word === "") return AuditOutcome.UNSPECIFIED;
  const outcome = OUTCOMES[word];
  if (outcome !== undefined) return outcome;
  const words = Object.keys(OUTCOMES).join(", ");
  throw new HmsError("INVALID_ARGUMENT", `--outcome is "${word}", which is none: choose of ${words}.`);
}
