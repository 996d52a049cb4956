import { ROUTE_PATH_PATTERN, readRoutePath } from "./route-path.ts";
import type { ListNode, ObjectNode } from "./schema-node.ts";
import { routeRules } from "./schema-route-rules.ts";
import { routeVersion } from "./schema-route-version.ts";

/** What the gateway sends to the service. */
export const routesKey = {
  kind: "list",
  max: 200,
  description:
    "What the gateway sends to the service from outside. Without routes it is reached by its mesh name only. The most exact path wins.",
  item: {
    kind: "object",
    description: "One path with its methods.",
    properties: {
      path: {
        kind: "text",
        required: true,
        description:
          "/receipt is that path exactly, /users/{id} has one variable segment, /files/* is everything below /files/.",
        maxLength: 512,
        shape: "a path; variable segments as {name}, * only as its last segment",
        pattern: ROUTE_PATH_PATTERN,
        read: readRoutePath,
        example: "/receipt",
      },
      methods: {
        kind: "list",
        max: 7,
        description: "The HTTP methods that are let through; all if left out. GET lets HEAD through too.",
        item: {
          kind: "choice",
          description: "An HTTP method.",
          choices: {
            GET: "read",
            HEAD: "read without the body",
            POST: "create or do",
            PUT: "replace",
            PATCH: "change a part",
            DELETE: "remove",
            OPTIONS: "ask what is possible",
          },
        },
        defaultNote: "all methods",
        example: "[POST]",
      },
      ...routeRules,
      ...routeVersion,
    },
    elsewhere: {
      method: "routes.methods",
      url: "routes.path",
      prefix: "routes.path",
      rate_limit: "routes.limits",
      limit: "routes.limits",
      headers: "routes.response_headers",
      ttl: "routes.cache",
      strip: "routes.strip_prefix",
      rewrite: "routes.add_prefix",
      deprecation: "routes.deprecated",
      request_timeout: "routes.timeout",
    },
    later: {
      host: "The gateway does not look at host names yet. Leave the key out",
    },
  },
  defaultNote: "none",
  example: "[{path: /receipt, methods: [POST]}]",
} as const satisfies ListNode;

/** How calls to the service are treated. */
export const meshKeys = {
  kind: "object",
  description: "How requests to the service are treated, from the gateway and from other programs alike.",
  properties: {
    request_timeout: {
      kind: "duration",
      min: "10ms",
      max: "1h",
      default: "30s",
      description: "How long an answer may take to begin. After that the caller gets 504. The body may take longer.",
    },
    connect_timeout: {
      kind: "duration",
      min: "1ms",
      max: "1m",
      default: "1s",
      description: "How long a connection to a replica may take before another replica is tried.",
    },
    retry: {
      kind: "object",
      description: "Whether a request that a replica did not answer goes to another one.",
      properties: {
        attempts: {
          kind: "whole",
          min: 0,
          max: 5,
          default: 1,
          description:
            "Further attempts after the first; 0 switches them off. All retries together stay below 20 % of the traffic.",
        },
        post: {
          kind: "flag",
          default: false,
          description:
            "Also repeat POST and PATCH of which a replica may have seen a part. Only for services that recognise a request they have handled already.",
        },
      },
      elsewhere: { retries: "mesh.retry.attempts", count: "mesh.retry.attempts" },
    },
    breaker: {
      kind: "object",
      description:
        "Leaves a replica alone that answers badly: not in time, broken off, or 502, 503 or 504. While all are left alone, callers get 503 at once.",
      properties: {
        failures: {
          kind: "whole",
          min: 1,
          max: 1000,
          description: "After so many bad answers in a row.",
          defaultNote: "no breaker",
          example: "5",
        },
        open: {
          kind: "duration",
          min: "100ms",
          max: "1h",
          default: "10s",
          description: "For so long; then one request tries, and its answer decides.",
        },
      },
      elsewhere: {
        threshold: "mesh.breaker.failures",
        timeout: "mesh.breaker.open",
        sleep_window: "mesh.breaker.open",
      },
    },
  },
  elsewhere: { timeout: "mesh.request_timeout", retries: "mesh.retry.attempts", circuit_breaker: "mesh.breaker" },
  later: {
    mtls: "Connections between services are not encrypted yet. Leave the key out",
    rate_limit: "The mesh does not limit rates yet. Leave the key out",
  },
} as const satisfies ObjectNode;
