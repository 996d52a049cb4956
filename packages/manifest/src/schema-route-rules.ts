import { PERMISSION_PATTERN } from "./permission-name.ts";
import { REQUEST_RATE_PATTERN, readRequestRate } from "./request-rate.ts";
import { bodyChanges } from "./schema-body-changes.ts";
import type { ListNode, MapNode, ObjectNode, SchemaNode, TextReading } from "./schema-node.ts";

const OURS = "The gateway says it itself. Leave it out";
const FRAMING = "It belongs to one connection and is written anew on the next. Leave it out";
/** Header fields that are no manifest's to change, with the reason. */
const RESERVED: Readonly<Record<string, string>> = {
  authorization: "Credentials do not belong into a manifest. Give the program its own by env",
  "proxy-authorization": "Credentials do not belong into a manifest. Give the program its own by env",
  host: OURS,
  "x-request-id": OURS,
  "x-forwarded-for": OURS,
  "x-forwarded-proto": OURS,
  "x-forwarded-host": OURS,
  "x-forwarded-prefix": OURS,
  "x-forwarded-port": OURS,
  "x-hms-principal": OURS,
  "x-hms-principal-roles": OURS,
  "x-hms-principal-mfa": OURS,
  connection: FRAMING,
  "content-length": FRAMING,
  "transfer-encoding": FRAMING,
  "keep-alive": FRAMING,
  "proxy-connection": FRAMING,
  upgrade: FRAMING,
  te: FRAMING,
  trailer: FRAMING,
  expect: FRAMING,
};
const NAME_PATTERN = "^[a-z0-9][a-z0-9-]{0,63}$";
const NAME_SHAPE = "a header field's name in lower-case letters";

const FIELD_VALUE = /^[!-~](?:[ -~]*[!-~])?$/;
const TEMPLATES = ["caller.name", "request.id", "client.address"];

/** A header field's value; what stands in it in ${} is filled in for each request. */
function readFieldValue(text: string): TextReading {
  if (!FIELD_VALUE.test(text)) {
    return {
      problem: "has characters that no header field may have. Write visible ASCII characters, with spaces inside",
    };
  }
  for (const [shown, name = ""] of text.matchAll(/\$\{([^}]*)\}?/g)) {
    if (TEMPLATES.includes(name) && shown.endsWith("}")) continue;
    const possible = TEMPLATES.map((known) => `\${${known}}`).join(", ");
    return { problem: `has ${shown}, which is not known here. Possible are ${possible}` };
  }
  return { value: text };
}

const fieldValues = (description: string, example: string) =>
  ({
    kind: "map",
    description,
    max: 30,
    nameShape: NAME_SHAPE,
    namePattern: NAME_PATTERN,
    reserved: RESERVED,
    value: {
      kind: "text",
      description: "The field's value. ${caller.name}, ${request.id} and ${client.address} are filled in.",
      maxLength: 1024,
      shape: "visible ASCII characters, with spaces inside",
      pattern: "^[!-~]([ -~]*[!-~])?$",
      read: readFieldValue,
      example: "2",
    },
    defaultNote: "none",
    example,
  }) as const satisfies MapNode;

const removeKey = {
  kind: "list",
  description: "Fields that are left out.",
  max: 30,
  item: {
    kind: "text",
    description: "A field's name.",
    maxLength: 64,
    shape: NAME_SHAPE,
    pattern: NAME_PATTERN,
    read: (text) => {
      if (!new RegExp(NAME_PATTERN).test(text)) return { problem: `is not ${NAME_SHAPE}. Write it like x-debug` };
      const reason = Object.hasOwn(RESERVED, text) ? RESERVED[text] : undefined;
      return reason === undefined ? { value: text } : { problem: `cannot be left out: ${reason}` };
    },
    example: "server",
  },
  defaultNote: "none",
  example: "[server]",
} as const satisfies ListNode;

const fieldChanges = {
  set: fieldValues("Fields that are set, over those of the same name.", "{x-api-version: 2}"),
  add: fieldValues("Fields that are added, beside those of the same name.", "{vary: accept-language}"),
  default: fieldValues("Fields that are set where there are none of that name.", "{cache-control: no-store}"),
  remove: removeKey,
} as const;

const limitItem = {
  kind: "object",
  description: "One limit. Several count together; the first that is used up refuses (429).",
  properties: {
    by: {
      kind: "choice",
      default: "address",
      description: "Who shares it.",
      choices: {
        address: "each client's address; of IPv6 its first 64 bits",
        principal: "each known caller, whatever it shows",
        credential: "each session, key or token",
        route: "everybody together",
      },
    },
    rate: {
      kind: "text",
      description: "So many requests in a second, minute, hour or day, evenly spread but for burst.",
      maxLength: 16,
      shape: "a number, a slash and s, m, h or d",
      pattern: REQUEST_RATE_PATTERN,
      read: readRequestRate,
      example: "600/m",
    },
    burst: {
      kind: "whole",
      min: 1,
      max: 1_000_000,
      description: "So many of them may come at once.",
      defaultNote: "all of the rate's number",
      example: "20",
    },
    concurrency: {
      kind: "whole",
      min: 1,
      max: 100_000,
      description: "So many requests may run at the same time; WebSockets count while they are open.",
      defaultNote: "no limit",
      example: "10",
    },
  },
  elsewhere: { requests: "routes.limits.rate", per: "routes.limits.by", key: "routes.limits.by" },
} as const satisfies ObjectNode;

/** What a route demands of its callers, and what is changed on the way. */
export const routeRules = {
  auth: {
    kind: "choice",
    default: "public",
    description:
      "Whether callers must say who they are, by authorization: Bearer with a session, key or token of the platform. The program is told in x-hms-principal, and never sees the credentials.",
    choices: {
      public: "everybody may call; credentials go on to the program as they came",
      optional: "who shows credentials must be known, others come in as nobody",
      required: "who is not known gets 401",
    },
  },
  roles: {
    kind: "list",
    max: 50,
    description: "Callers need one of these roles, or get 403.",
    item: {
      kind: "text",
      description: "A role's name.",
      maxLength: 200,
      shape: "visible ASCII characters",
      pattern: "^[!-~]+$",
      read: (text) =>
        /^[!-~]+$/.test(text)
          ? { value: text }
          : { problem: "is no role. Write visible ASCII characters, without spaces" },
      example: "developer",
    },
    defaultNote: "no role is needed",
    example: "[developer, operator]",
  },
  permission: {
    kind: "text",
    description: "Callers need a role that holds this permission, or get 403.",
    maxLength: 100,
    shape: "resource:verb",
    pattern: PERMISSION_PATTERN,
    read: (text) =>
      new RegExp(PERMISSION_PATTERN).test(text)
        ? { value: text }
        : { problem: "is no permission. Write resource:verb, like services:read" },
    defaultNote: "no permission is needed",
    example: "services:read",
  },
  mfa: {
    kind: "flag",
    default: false,
    description: "Callers need to have shown a second factor, or get 403.",
  },
  mfa_max_age: {
    kind: "duration",
    min: "1s",
    max: "12h",
    description:
      "Callers need to have shown a second factor no longer ago than this, or get 403 with what they have to show (RFC 9470).",
    defaultNote: "however long ago",
    example: "15m",
  },
  limits: {
    kind: "list",
    max: 8,
    description: "How often, and how many at once.",
    item: limitItem,
    defaultNote: "none",
    example: "[{by: address, rate: 600/m, burst: 20}]",
  },
  max_body: {
    kind: "memory",
    min: "1Ki",
    max: "10Gi",
    description: "Larger request bodies are refused (413).",
    defaultNote: "no limit",
    example: "1Mi",
  },
  request_headers: {
    kind: "object",
    description: "Changes of what the program gets.",
    properties: fieldChanges,
  },
  response_headers: {
    kind: "object",
    description: "Changes of what callers get.",
    properties: fieldChanges,
  },
  request_body: bodyChanges("Changes of the JSON that the program gets. Whatever is no JSON is refused (400, 415)."),
  response_body: bodyChanges(
    "Changes of the JSON that callers get. Answers that say they are no JSON pass as they are; one that says so and is none, or is larger, becomes 502.",
  ),
  security_headers: {
    kind: "flag",
    default: false,
    description:
      "Adds x-content-type-options, x-frame-options, referrer-policy and cross-origin-opener-policy where the program does not say them.",
  },
  cache: {
    kind: "duration",
    min: "1s",
    max: "24h",
    description:
      "Answers 200 to GET are kept for this long, or shorter if their cache-control says so; never those with set-cookie, private or no-store, never for requests with cookies, and for each caller apart.",
    defaultNote: "nothing is kept",
    example: "30s",
  },
} as const satisfies Readonly<Record<string, SchemaNode>>;
