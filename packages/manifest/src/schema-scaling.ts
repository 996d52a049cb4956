import type { ObjectNode } from "./schema-node.ts";

/** The most replicas of a service. */
export const REPLICAS = 500;

/** How many replicas there are. */
export const scalingKeys = {
  kind: "object",
  description:
    "How many replicas run. If max is written, and is more than min, the load decides in between; hms-sys scale sets another number until hms-sys scale SERVICE auto.",
  properties: {
    min: {
      kind: "whole",
      min: 0,
      max: REPLICAS,
      default: 1,
      description:
        "The fewest replicas. A first deploy starts so many. 0: without a request for a while there are none, and the next request starts one and waits for it.",
      example: "2",
    },
    max: {
      kind: "whole",
      min: 1,
      max: REPLICAS,
      default: 10,
      defaultNote: "10, or min if that is more",
      description: "The most replicas.",
      example: "10",
    },
    by: {
      kind: "choice",
      description: "What decides between min and max.",
      default: "none",
      defaultNote: "concurrency if max is written and is more than min, else none",
      choices: {
        concurrency: "how many requests there are at once, on average of 60 s, and of 6 s when they surge",
        cpu: "each 15 s one more above 70 % of the processor time, one fewer below 30 %",
        none: "nothing but hms-sys scale",
      },
      later: {
        memory: "Memory does not follow load. Use concurrency or cpu",
        rps: "It is counted in requests at once. Use concurrency",
        requests: "It is counted in requests at once. Use concurrency",
      },
      example: "concurrency",
    },
    concurrency: {
      kind: "whole",
      min: 1,
      max: 100_000,
      default: 50,
      description: "How many requests at once one replica takes; 70 % of that is aimed at.",
      example: "20",
    },
    stabilization: {
      kind: "duration",
      min: "0s",
      max: "1h",
      defaultNote: "2m, or 0s by cpu",
      description: "Replicas go only if no more of them were needed for so long.",
      example: "5m",
    },
    idle: {
      kind: "duration",
      min: "1s",
      max: "24h",
      default: "5m",
      description: "Without a request for so long there are no replicas, if min is 0.",
    },
    max_replica_hours: {
      kind: "whole",
      min: 24,
      max: 24 * REPLICAS,
      defaultNote: "no cap",
      description:
        "What a day (in UTC) may cost, in replicas times hours: when all is used but what the minimum needs until midnight, the minimum runs.",
      example: "100",
    },
  },
  elsewhere: {
    replicas: "scaling.min",
    minimum: "scaling.min",
    maximum: "scaling.max",
    target: "scaling.concurrency",
    metric: "scaling.by",
    cpu: "scaling.by",
    scale_down_delay: "scaling.stabilization",
    idle_timeout: "scaling.idle",
    budget: "scaling.max_replica_hours",
  },
} as const satisfies ObjectNode;
