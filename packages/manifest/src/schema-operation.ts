import { DEPLOY_WINDOW_PATTERN, readDeployWindow } from "./deploy-window.ts";
import { PROBE_PATH_PATTERN, readProbePath } from "./probe-path.ts";
import type { AmountNode, ObjectNode } from "./schema-node.ts";
import { REPLICAS } from "./schema-scaling.ts";
import { sideBySideKeys } from "./schema-side-by-side.ts";

/** How the platform tells a healthy replica. */
export const healthKeys = {
  kind: "object",
  description:
    "How the platform, from outside, tells whether a replica may get traffic. Without http it connects by TCP to the replica's PORT.",
  properties: {
    http: {
      kind: "text",
      description: "Ask for this path by GET; any 2xx or 3xx answer is healthy.",
      maxLength: 512,
      shape: "a path, with or without a query",
      pattern: PROBE_PATH_PATTERN,
      read: readProbePath,
      example: "/healthz",
    },
    tcp: {
      kind: "flag",
      only: true,
      default: true,
      defaultNote: "true without http",
      description: "A connection that the replica accepts is healthy.",
    },
    interval: { kind: "duration", min: "100ms", max: "5m", default: "1s", description: "From one check to the next." },
    timeout: {
      kind: "duration",
      min: "10ms",
      max: "1m",
      default: "2s",
      description: "How long an answer may take before the check has failed.",
    },
    rise: {
      kind: "whole",
      min: 1,
      max: 20,
      default: 1,
      description: "Checks in a row that must pass before a replica gets traffic.",
    },
    fall: {
      kind: "whole",
      min: 1,
      max: 20,
      default: 3,
      description: "Checks in a row that must fail before it gets none.",
    },
    start_timeout: {
      kind: "duration",
      min: "1s",
      max: "1h",
      default: "30s",
      description: "How long a new replica may take until it is healthy. After that the rollout goes back.",
    },
    min_healthy_time: {
      kind: "duration",
      min: "0s",
      max: "1h",
      default: "1s",
      description: "How long a new replica must stay healthy before the rollout relies on it.",
    },
  },
  exclusive: [["http", "tcp"]],
  elsewhere: {
    path: "health.http",
    url: "health.http",
    period: "health.interval",
    retries: "health.fall",
    threshold: "health.fall",
    start_period: "health.start_timeout",
    grace_period: "health.start_timeout",
  },
  later: {
    grpc: "Checks are by HTTP or TCP yet. Use tcp: true",
    exec: "Checks are by HTTP or TCP yet. Let the program answer a path and name it under http",
    command: "Checks are by HTTP or TCP yet. Let the program answer a path and name it under http",
    probe: "GVE probes judge new versions, not replicas. Write gates: [{gve: /path}] beside health",
  },
} as const satisfies ObjectNode;

/** How a new version replaces the old one. */
export const rolloutKeys = {
  kind: "object",
  description:
    "How a new version replaces the old one. The old one serves until the new one is healthy; if that fails, it never stopped serving.",
  properties: {
    strategy: {
      kind: "choice",
      default: "rolling",
      description: "The way of replacing.",
      example: "canary",
      choices: {
        rolling: "new replicas start, become healthy and take traffic; then old ones drain and stop",
        canary: "the new version gets a growing share of the traffic while the old one stays whole",
        "blue-green": "a whole new set becomes ready beside the old one, then gets all traffic at once",
      },
      later: {
        bluegreen: "It is written blue-green",
        recreate: "Stopping before starting loses requests and is not offered. Use rolling",
      },
    },
    ...sideBySideKeys,
    max_surge: {
      kind: "share",
      max: REPLICAS,
      default: "25%",
      description:
        "How many replicas may run beyond the wanted number while versions change: a share of it, rounded up, or a number.",
      example: "1",
    },
    windows: {
      kind: "list",
      max: 20,
      description:
        "When new versions are deployed: outside of them a deploy is refused, unless it says --override-freeze. Rollbacks and restarts are not held up.",
      item: {
        kind: "text",
        description: "Days, times of one day, and the time zone whose clocks count; UTC without one.",
        maxLength: 120,
        shape: "mon-fri 09:00-16:00 Europe/Berlin",
        pattern: DEPLOY_WINDOW_PATTERN,
        read: readDeployWindow,
        example: "mon-thu 09:00-16:00 Europe/Berlin",
      },
      defaultNote: "always",
      example: "['mon-thu 09:00-16:00 Europe/Berlin']",
    },
    drain_timeout: {
      kind: "duration",
      min: "0s",
      max: "1h",
      default: "30s",
      description: "How long an old replica may finish the requests it has before it is stopped.",
    },
    deadline: {
      kind: "duration",
      min: "5s",
      max: "24h",
      default: "5m",
      description:
        "How long a rollout may take until the new version serves, build and draining not counted. After that it goes back.",
    },
  },
  elsewhere: {
    canary: "rollout.steps",
    bake: "rollout.warm",
    preview: "rollout.match",
    surge: "rollout.max_surge",
    drain: "rollout.drain_timeout",
    timeout: "rollout.deadline",
  },
  later: {
    max_unavailable: "A rollout never runs fewer replicas than wanted. Leave the key out",
  },
} as const satisfies ObjectNode;

/** How long a replica may take to end. */
export const stopGraceKey = {
  kind: "duration",
  min: "0s",
  max: "1h",
  default: "10s",
  description: "From SIGTERM, when the program should finish and end, to SIGKILL for everything it started.",
} as const satisfies AmountNode;

/** What one replica may use. */
export const resourceKeys = {
  kind: "object",
  description: "What one replica, with everything it starts, may use.",
  properties: {
    memory: {
      kind: "memory",
      min: "8Mi",
      max: "16Ti",
      description:
        "The most memory: Ki, Mi, Gi, Ti count in 1024s, k, M, G, T in 1000s. Beyond it the replica is ended and started again.",
      defaultNote: "no limit",
      example: "256Mi",
    },
    cpu: {
      kind: "cpu",
      min: "10m",
      max: "1024",
      description: "The most processor time, in cores: 0.5 (or 500m) is half of one.",
      defaultNote: "no limit",
      example: "0.5",
    },
    processes: {
      kind: "whole",
      min: 8,
      max: 32768,
      default: 512,
      description: "The most processes and threads together.",
    },
  },
  elsewhere: { mem: "resources.memory", cpus: "resources.cpu", pids: "resources.processes", limits: "resources" },
  later: {
    gpu: "There are no limits for it yet. Leave the key out",
    disk: "There are no limits for it yet. Leave the key out",
  },
} as const satisfies ObjectNode;
