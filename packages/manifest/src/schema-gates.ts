import {
  GATE_NAME_PATTERN,
  GATE_RATE_PATTERN,
  readGateLimit,
  readGateName,
  readGateRate,
  readWebhook,
  WEBHOOK_PATTERN,
} from "./gate-texts.ts";
import { GVE_PATTERN, PROBE_PATH_PATTERN, readGveProbe, readProbePath } from "./probe-path.ts";
import type { ListNode, ObjectNode } from "./schema-node.ts";

const MOST_REPLICA_CHECKS = 100;

const gate = {
  kind: "object",
  description: "One check: exactly one of http, tcp, grpc, exec, gve, webhook and metric.",
  properties: {
    name: {
      kind: "text",
      description: "What it is called in journals and messages.",
      defaultNote: "its kind and what it asks",
      maxLength: 63,
      shape: "lower-case letters, digits and hyphens",
      pattern: GATE_NAME_PATTERN,
      read: readGateName,
      example: "smoke",
    },
    http: {
      kind: "text",
      description: "Ask each new replica for this path by GET; 2xx and 3xx pass.",
      maxLength: 512,
      shape: "a path, with or without a query",
      pattern: PROBE_PATH_PATTERN,
      read: readProbePath,
      example: "/selftest",
    },
    tcp: { kind: "flag", only: true, description: "Each new replica must accept a connection at its PORT." },
    grpc: {
      kind: "text",
      mayBeEmpty: true,
      description:
        'Ask grpc.health.v1 of each new replica, without TLS, about this service; "" asks about the whole server. SERVING passes, UNKNOWN is inconclusive.',
      maxLength: 256,
      example: "payments.v1.Payments",
    },
    exec: {
      kind: "text",
      description:
        "Run this by /bin/sh -c in the release, with env, secrets and HMS_GATE_URL, HMS_GATE_REPLICA and HMS_REVISION; 0 passes, 75 is inconclusive, all else fails.",
      maxLength: 8192,
      example: "node smoke.js",
    },
    gve: {
      kind: "text",
      description:
        'A probe that answers GREEN, YELLOW or RED, as a word or as {"status": "GREEN", "reason": "…"}: a path of each new replica, or a method that it serves with an SDK, called with nothing as the service itself, which a policy has to allow (allowed_roles: [service:NAME]). GREEN passes, YELLOW waits for a person, RED fails, and so does whatever says none of them.',
      maxLength: 512,
      shape: "a path, with or without a query, or demo.shop.v1.ShopService/Values",
      pattern: GVE_PATTERN,
      read: readGveProbe,
      example: "/values",
    },
    webhook: {
      kind: "text",
      description:
        'Post what is tried as JSON to this address: 2xx passes unless its body says {"status": "YELLOW"} or "RED", as for gve; all else fails. No redirect is followed.',
      maxLength: 2048,
      shape: "an address, http:// or https://",
      pattern: WEBHOOK_PATTERN,
      read: readWebhook,
      example: "https://release.example.org/ask",
    },
    metric: {
      kind: "choice",
      description:
        "Judge the new version by what the mesh counts of it: answers 5xx and broken ones (error_rate), response times (latency), requests in a second (throughput).",
      choices: {
        error_rate: "at most max of its requests may fail",
        latency: "the quantile of its response times is at most max",
        throughput: "it answers at least min",
      },
      example: "error_rate",
    },
    max: {
      kind: "text",
      description: "The most that error_rate (a percentage) or latency (a duration) may be.",
      maxLength: 16,
      shape: "1%, 0.5%, or 250ms",
      read: readGateLimit,
      example: "1%",
    },
    min: {
      kind: "text",
      description: "The least throughput.",
      maxLength: 16,
      shape: "a number, a slash and s",
      pattern: GATE_RATE_PATTERN,
      read: readGateRate,
      example: "5/s",
    },
    quantile: {
      kind: "whole",
      min: 50,
      max: 99,
      default: 99,
      description: "Which quantile latency looks at: 99 is the time that 99 of 100 requests do not exceed.",
    },
    beside: {
      kind: "whole",
      min: 0,
      max: 1000,
      description:
        "How many per cent worse than the old version, in the same time, error_rate or latency may be. It is judged while both get requests.",
      example: "20",
    },
    sample: {
      kind: "whole",
      min: 1,
      max: 1_000_000,
      default: 100,
      description: "Fewer requests than this are inconclusive: of the new version, and of the old one for beside.",
    },
    at: {
      kind: "choice",
      description:
        "When it is judged: once a new replica is healthy, before its first request (start), or again and again while the new version has traffic: in each hold, in the warm time, and after each batch of a rolling update (traffic).",
      defaultNote: "start; traffic for metric",
      choices: { start: "before the first request", traffic: "while the new version has traffic" },
    },
    every: { kind: "duration", min: "1s", max: "10m", default: "10s", description: "From one look to the next." },
    timeout: {
      kind: "duration",
      min: "100ms",
      max: "10m",
      default: "10s",
      description: "How long an answer may take before the look has failed.",
    },
    failures: {
      kind: "whole",
      min: 0,
      max: MOST_REPLICA_CHECKS,
      default: 0,
      description: "Looks that may fail before the gate does.",
    },
    window: {
      kind: "duration",
      min: "1s",
      max: "24h",
      default: "1m",
      description: "How long a rolling update is watched after each batch. In a canary that is the step's hold.",
    },
    inconclusive: {
      kind: "choice",
      default: "wait",
      description: "What follows if it cannot tell: YELLOW, too small a sample.",
      choices: {
        wait: "the rollout waits, until the gate passes or somebody promotes or aborts it",
        pass: "it counts as passed",
        fail: "it counts as failed",
      },
    },
  },
  elsewhere: {
    path: "gates.http",
    url: "gates.webhook",
    command: "gates.exec",
    probe: "gates.gve",
    interval: "gates.every",
    threshold: "gates.max",
    when: "gates.at",
    error_rate: "gates.metric",
    latency: "gates.metric",
    throughput: "gates.metric",
  },
} as const satisfies ObjectNode;

/** What a new version has to pass beside its health checks. */
export const gatesKey = {
  kind: "list",
  max: 20,
  description:
    "What a new version has to pass beside its health checks. One that fails undoes the rollout and says why; restarts, scaling and rollbacks are not asked, nor is a fix for what is broken already.",
  item: gate,
  defaultNote: "none",
  example: "[{http: /selftest}, {metric: error_rate, max: 1%}]",
} as const satisfies ListNode;
