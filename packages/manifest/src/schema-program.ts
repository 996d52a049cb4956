import { readProgramDirectory } from "./program-directory.ts";
import type { ListNode, MapNode, ObjectNode, TextNode, WholeNode } from "./schema-node.ts";
import { readServiceName, SERVICE_NAME_PATTERN } from "./service-name.ts";

const COMMAND_LENGTH = 8192;

/** The service's name. */
export const nameKey = {
  kind: "text",
  required: true,
  description: "The service's name, unique in its environment. Other programs reach it as http://NAME.mesh.",
  maxLength: 63,
  shape: "lower-case letters, digits and inner hyphens, a letter first; not local, docker, forge, aws or k8s",
  pattern: SERVICE_NAME_PATTERN,
  read: readServiceName,
  example: "receipt-svc",
} as const satisfies TextNode;

/** The program's version. */
export const versionKey = {
  kind: "text",
  default: "0.0.0",
  description:
    "The program's version, as you count them; shown by status and history. The platform counts revisions of its own and compares contents, so two deploys may carry the same version.",
  maxLength: 64,
  shape: "printable ASCII characters without spaces; in quotes if it looks like a number",
  pattern: "^[!-~]+$",
  read: (text) =>
    /^[!-~]+$/.test(text)
      ? { value: text }
      : { problem: "contains a space or a character outside ASCII. Write it without, such as 1.0.0" },
  example: "1.0.0",
} as const satisfies TextNode;

/** What has to be there before. */
export const needsKey = {
  kind: "list",
  max: 50,
  description:
    "Services that have to serve before this one is deployed. A deploy of several manifests goes by it; a deploy of this one says which of them do not.",
  item: {
    kind: "text",
    description: "A service's name.",
    maxLength: 63,
    pattern: SERVICE_NAME_PATTERN,
    read: readServiceName,
    example: "payment-svc",
  },
  defaultNote: "none",
  example: "[payment-svc]",
} as const satisfies ListNode;

/** What to run. */
export const runKeys = {
  kind: "object",
  required: true,
  requiredUnless: ["image", "build"],
  description:
    "The program and how it is prepared. It must listen on 127.0.0.1 at the port that the variable PORT names.",
  properties: {
    command: {
      kind: "text",
      required: true,
      description:
        "Starts the program; run by /bin/sh -c in the release's copy of the directory. SIGTERM asks it to end (see stop_grace).",
      maxLength: COMMAND_LENGTH,
      example: "node index.js",
    },
    directory: {
      kind: "text",
      default: ".",
      description: "The directory that holds the program, relative to the manifest. It is copied into each release.",
      maxLength: 1024,
      shape: "a relative path that does not lead out of the manifest's directory",
      pattern: "^[^/~\\\\]",
      read: readProgramDirectory,
      example: "./server",
    },
    build: {
      kind: "text",
      description:
        "Prepares the release: run once in the copy before anything starts, and not again while sources and command stay the same. If it fails, nothing has changed.",
      maxLength: COMMAND_LENGTH,
      example: "npm ci --omit=dev",
    },
    release: {
      kind: "text",
      description:
        "Run once per rollout in the service's environment, before the new version gets traffic; a place for database migrations. If it fails, the old version goes on serving. It runs again only if the platform dies before its success is on record, so let it bear that.",
      maxLength: COMMAND_LENGTH,
      example: "npm run migrate",
    },
  },
  elsewhere: {
    cmd: "run.command",
    start: "run.command",
    dir: "run.directory",
    workdir: "run.directory",
    cwd: "run.directory",
  },
  later: {
    args: "Write the arguments into run.command",
    user: "Every replica has a user of its own already. Leave the key out",
  },
} as const satisfies ObjectNode;

/** The port of the service's mesh address. */
export const portKey = {
  kind: "whole",
  min: 1,
  max: 65535,
  description:
    "Where NAME.mesh answers beside port 80. The program itself listens on the port that the variable PORT names, another one for each replica.",
  example: "3000",
} as const satisfies WholeNode;

const GIVEN = "is given by the platform, and another value would not reach the program. Choose another name";

/** The program's environment. */
export const envKey = {
  kind: "map",
  description:
    "Environment variables of the program, its build and its release command. ${env.NAME} takes NAME from where you run hms-sys, at the time of the deploy, ${secret.NAME} a secret (see secrets; not for the build); $${ stands for ${ itself. The platform adds PORT, HMS_SERVICE, HMS_ENVIRONMENT, HMS_REPLICA, HMS_REVISION, HMS_FFI_SOCKET and HMS_FFI_TOKEN.",
  max: 256,
  nameShape: "letters, digits and underscores, no digit first",
  namePattern: "^[A-Za-z_][A-Za-z0-9_]{0,127}$",
  reserved: {
    PORT: "is given by the platform, another one for each replica. Leave it out; the key port sets where NAME.mesh answers",
    ...Object.fromEntries(
      ["SERVICE", "ENVIRONMENT", "REPLICA", "REVISION", "TASK", "LAUNCH", "FFI_TOKEN", "FFI_SOCKET"].map((name) => [
        `HMS_${name}`,
        GIVEN,
      ]),
    ),
    ["__proto__"]: "has a meaning of its own in too many languages. Choose another name",
  },
  value: {
    kind: "text",
    description: "The variable's value: a text, in quotes if it looks like a number or a truth value.",
    maxLength: 32768,
    mayBeEmpty: true,
    interpolated: true,
    example: '"https://example.org/${env.REGION}"',
  },
  example: '{LOG_LEVEL: info, DATABASE_URL: "${env.DATABASE_URL}"}',
} as const satisfies MapNode;
