import { readFileSync } from "node:fs";
import { TRANSPORTS, type TransportName } from "@hms/direct-calls";
import { type FieldViolation, HmsError } from "@hms/kernel";
import { nearestName, parseDuration } from "@hms/manifest";
import { parseDocument } from "yaml";

/** How a value of the file is read; a text says what is wrong with it. */
type Reader = (value: unknown) => { value: unknown } | string;
type Shape = { readonly [key: string]: Shape | Reader };

const text: Reader = (value) => (typeof value === "string" && value !== "" ? { value } : "must be a text.");
const flag: Reader = (value) => (typeof value === "boolean" ? { value } : "must be true or false.");
const texts: Reader = (value) =>
  Array.isArray(value) && value.every((one) => typeof one === "string") ? { value } : "must be a list of texts.";
const count: Reader = (value) =>
  Number.isInteger(value) && (value as number) > 0 ? { value } : "must be a whole number above zero.";
const oneOf =
  (...words: string[]): Reader =>
  (value) =>
    words.includes(value as string) ? { value } : `must be one of ${words.join(", ")}.`;

const duration: Reader = (value) => {
  const ms = parseDuration(String(value));
  return ms === undefined ? "must be a time like 300s, 5m or 250ms." : { value: ms };
};

/** What may be in a file. */
const SHAPE: Shape = {
  ffi: {
    registry: { url: text, token: text, cache_ttl: duration, refresh_interval: duration },
    environment: text,
    transport: {
      default: oneOf(...TRANSPORTS),
      in_process: { enabled: flag },
      local_socket: { enabled: flag, path: text },
      grpc: { enabled: flag, max_concurrent_streams: count },
      tls: { certificate: text, key: text, authority: text },
    },
    security: {
      token_validation_endpoint: text,
      required_claims: texts,
      permission_policy: oneOf("strict"),
    },
  },
};

/** The settings of a file, as far as it has them; durations in milliseconds. */
export interface FileSettings {
  readonly registry?: { url?: string; token?: string; cache_ttl?: number; refresh_interval?: number };
  readonly environment?: string;
  readonly security?: { token_validation_endpoint?: string; required_claims?: string[] };
  readonly transport?: {
    default?: TransportName;
    in_process?: { enabled?: boolean };
    local_socket?: { enabled?: boolean; path?: string };
    grpc?: { enabled?: boolean; max_concurrent_streams?: number };
    tls?: { certificate?: string; key?: string; authority?: string };
  };
}

/**
 * Reads a configuration file: YAML with the key `ffi` (HMS-FFI configuration). What is said of security is the
 * platform's to enforce: it decides with each lookup, and default deny is its only policy.
 * @throws HmsError NOT_FOUND if there is no such file, INVALID_ARGUMENT with every problem in it
 */
export function readConfigFile(path: string): FileSettings {
  let content: string;
  try {
    content = readFileSync(path, "utf8");
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "it is not there" : (cause as Error).message;
    throw new HmsError(
      "NOT_FOUND",
      `The configuration file ${path} cannot be read: ${why}. Correct HMS_FFI_CONFIG_PATH.`,
      {
        cause,
      },
    );
  }
  const settings = parseConfig(content, path);
  for (const problem of withoutEffect(settings)) process.emitWarning(`${path}: ${problem}`, "HmsFfiConfigWarning");
  return settings;
}

/** What is set and changes nothing here, each with the reason. */
function withoutEffect({ transport = {}, security = {} }: FileSettings): string[] {
  const toldOf: string[] = [];
  const none = (name: string, why: string) => toldOf.push(`ffi.${name} has no effect: ${why}`);
  const platforms = "tokens and their claims are the platform's to check.";
  if (security.token_validation_endpoint !== undefined) none("security.token_validation_endpoint", platforms);
  if (security.required_claims !== undefined) none("security.required_claims", platforms);
  if (transport.in_process?.enabled) {
    none("transport.in_process.enabled", "what is near is called over its unix socket.");
  }
  if (transport.grpc?.enabled === false) {
    none("transport.grpc.enabled", "it is the platform that speaks gRPC, not this SDK.");
  }
  if (transport.default === "in_process") {
    none("transport.default", "services are processes; the nearest way is taken.");
  }
  return toldOf;
}

/** Reads the content of a configuration file. @throws HmsError INVALID_ARGUMENT with every problem in it */
function parseConfig(content: string, path: string): FileSettings {
  const document = parseDocument(content);
  const violations: FieldViolation[] = document.errors.map(({ message }) => ({ field: "", description: message }));
  const read = violations.length === 0 ? readShape(SHAPE, document.toJS() ?? {}, { path: "", violations }) : {};
  if (violations.length === 0) return (read.ffi ?? {}) as FileSettings;
  const problems = violations.map(({ field, description }) => (field ? `${field} ${description}` : description));
  throw new HmsError("INVALID_ARGUMENT", `The configuration file ${path} cannot be used. ${problems.join(" ")}`, {
    fieldViolations: violations,
  });
}

interface ShapePlace {
  readonly path: string;
  readonly violations: FieldViolation[];
}

function readShape(shape: Shape, value: unknown, place: ShapePlace): Record<string, unknown> {
  const read: Record<string, unknown> = {};
  const { violations } = place;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    violations.push({ field: place.path, description: `must be an object with ${Object.keys(shape).join(", ")}.` });
    return read;
  }
  for (const [key, item] of Object.entries(value)) {
    const path = place.path === "" ? key : `${place.path}.${key}`;
    const expected = Object.hasOwn(shape, key) ? shape[key] : undefined;
    if (expected === undefined) violations.push({ field: path, description: unknownKey(key, shape) });
    else if (typeof expected === "function") read[key] = readValue(expected, item, { path, violations });
    else read[key] = readShape(expected, item, { path, violations });
  }
  return read;
}

function readValue(reader: Reader, value: unknown, { path, violations }: ShapePlace): unknown {
  const result = reader(value);
  if (typeof result !== "string") return result.value;
  violations.push({ field: path, description: result });
  return undefined;
}

function unknownKey(key: string, shape: Shape): string {
  const near = nearestName(key, Object.keys(shape));
  return near ? `is no setting; did you mean ${near}?` : `is no setting; there are ${Object.keys(shape).join(", ")}.`;
}
