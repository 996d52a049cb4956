import { quoted } from "./quoted.ts";
import type { MapNode } from "./schema-node.ts";
import { envKey } from "./schema-program.ts";
import { isSecretName, SECRET_NAME_PATTERN, SECRET_NAME_SHAPE } from "./secret-reference.ts";

/** The program's secrets. */
export const secretsKey = {
  kind: "map",
  description:
    "Secrets of the environment (hms-sys secrets set NAME) as variables of the program, its release command and its exec gates, not of its build: a list of names, or VARIABLE: name. ${secret.NAME} under env puts one into a longer value. A deploy takes the newest versions, and the revision keeps them.",
  max: 256,
  listed: true,
  nameShape: envKey.nameShape,
  namePattern: envKey.namePattern,
  reserved: envKey.reserved,
  value: {
    kind: "text",
    description: "The secret's name.",
    maxLength: 128,
    shape: SECRET_NAME_SHAPE,
    pattern: SECRET_NAME_PATTERN,
    read: (text) =>
      isSecretName(text)
        ? { value: text }
        : { problem: `cannot be a secret's name. Use ${SECRET_NAME_SHAPE}, such as ${quoted("payment-key")}` },
    example: "payment-key",
  },
  example: "{PAYMENT_KEY: payment-key}",
} as const satisfies MapNode;
