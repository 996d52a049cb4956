import type { SchemaNode } from "./schema-node.ts";
import { readSticky, readTrafficShare, STICKY_PATTERN, TRAFFIC_SHARE_PATTERN } from "./traffic-share.ts";

/** How both versions serve side by side, for canary and blue-green. */
export const sideBySideKeys = {
  steps: {
    kind: "list",
    max: 20,
    description:
      "The shares of the traffic that a canary gets, one after the other; at the end it gets everything. Before each there are as many new replicas as the share needs, and the old ones all stay.",
    item: {
      kind: "object",
      description: "One step.",
      properties: {
        share: {
          kind: "text",
          required: true,
          description: "What the new version gets.",
          maxLength: 7,
          shape: "a percentage",
          pattern: TRAFFIC_SHARE_PATTERN,
          read: readTrafficShare,
          example: "10%",
        },
        hold: {
          kind: "duration",
          min: "0s",
          max: "24h",
          default: "1m",
          description: "How long it is watched there before the next step.",
        },
      },
      elsewhere: { weight: "rollout.steps.share", set_weight: "rollout.steps.share", pause: "rollout.steps.hold" },
    },
    defaultNote: "1% and 50%, a minute each",
    example: "[{share: 10%, hold: 5m}]",
  },
  match: {
    kind: "list",
    max: 20,
    description: "Requests that get the new version of a canary or blue-green rollout whatever the share.",
    item: {
      kind: "object",
      description: "A header field or a cookie.",
      properties: {
        header: {
          kind: "text",
          description: "A header field's name.",
          maxLength: 64,
          shape: "a header field's name in lower-case letters",
          pattern: "^[a-z0-9][a-z0-9-]*$",
          example: "x-beta",
        },
        cookie: {
          kind: "text",
          description: "A cookie's name.",
          maxLength: 64,
          shape: "a cookie's name",
          pattern: "^[A-Za-z0-9_.-]+$",
          example: "beta",
        },
        value: {
          kind: "text",
          description: "What it must be; anything if left out.",
          maxLength: 256,
          example: "yes",
        },
      },
      exclusive: [["header", "cookie"]],
    },
    defaultNote: "none beside x-hms-revision: N, which asks for revision N",
    example: "[{header: x-beta, value: yes}]",
  },
  sticky: {
    kind: "text",
    default: "address",
    description:
      "By what a client is known again, so that it stays with one version while the share does not change: address, header:NAME, cookie:NAME (where it is missing, the address), or request for no memory at all.",
    maxLength: 80,
    shape: "address, request, header:NAME or cookie:NAME",
    pattern: STICKY_PATTERN,
    read: readSticky,
    example: "cookie:session",
  },
  promote: {
    kind: "choice",
    default: "auto",
    description: "What leads from a step of a canary to the next, and from the preview of blue-green to its switch.",
    choices: {
      auto: "health: it goes on by itself after the hold",
      manual: "a person, with hms-sys promote",
    },
  },
  warm: {
    kind: "duration",
    min: "0s",
    max: "24h",
    default: "30s",
    description:
      "How long the old version of a canary or blue-green rollout stays ready after the new one has got everything: going back is then a change of the traffic only.",
  },
} as const satisfies Record<string, SchemaNode>;
