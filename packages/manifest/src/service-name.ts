import type { TextReading } from "./schema-node.ts";

/** The first words of deploy targets: `hms-sys deploy aws …` could not tell them from a service. */
const RESERVED = new Set(["local", "docker", "forge", "aws", "k8s"]);

/** What a service name looks like, for editors: a DNS label as RFC 1035 has it, so that it can name a host anywhere. */
export const SERVICE_NAME_PATTERN = "^(?!(?:local|docker|forge|aws|k8s)$)[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$";

const SHAPE = new RegExp(SERVICE_NAME_PATTERN);

function suggestion(text: string): string {
  const name = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^[^a-z]+/, "")
    .slice(0, 63)
    .replace(/-+$/, "");
  return SHAPE.test(name) ? `, such as ${name}` : ", such as receipt-svc";
}

/** Reads a service's name: 1 to 63 lower-case letters, digits and inner hyphens, a letter first, no deploy target. */
export function readServiceName(text: string): TextReading {
  if (RESERVED.has(text)) {
    return {
      problem: `is the word for a deploy target and cannot name a service. Write another name, such as ${text}-svc`,
    };
  }
  if (SHAPE.test(text)) return { value: text };
  return {
    problem: `cannot be part of a host name (NAME.mesh). Use 1 to 63 lower-case letters, digits and inner hyphens, a letter first${suggestion(text)}`,
  };
}
