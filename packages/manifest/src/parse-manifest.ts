import { HmsError } from "@hms/kernel/errors";
import type { ResolveEnv } from "./environment-reference.ts";
import { manifestRules } from "./manifest-rules.ts";
import { type Manifest, manifestSchema } from "./manifest-schema.ts";
import { decodeManifest } from "./manifest-text.ts";
import { type Position, ProblemList } from "./problem-list.ts";
import { readNode } from "./read-node.ts";
import { SecretText, secretTemplate } from "./secret-reference.ts";
import { YamlSource } from "./yaml-source.ts";

/** How a manifest is read. */
export interface ParseOptions {
  /** What messages call the manifest; default "The manifest". */
  fileName?: string;
  /** Where `${env.NAME}` takes its values from; by default no name is set. */
  resolveEnv?: ResolveEnv;
  /** What `auth` is for routes that do not say it; default public, as the schema has it. */
  routesDefaultAuth?: "public" | "required";
}

/** A manifest, and what of it stands there only by default. */
export interface ParsedManifest {
  readonly manifest: Manifest;
  /** The places, from 0, of routes that do not say `auth`. */
  readonly routesWithoutAuth: ReadonlySet<number>;
}

/**
 * Reads a manifest (UTF-8, YAML 1.2, at most 64 KiB) and fills in every default.
 * @throws HmsError INVALID_ARGUMENT, reason MANIFEST_INVALID, with all problems as fieldViolations in the order of the text.
 */
export function parseManifest(source: string | Uint8Array, options: ParseOptions = {}): Manifest {
  return examineManifest(source, options).manifest;
}

/** The same, and says too what stands there only by default. @throws HmsError as `parseManifest` */
export function examineManifest(source: string | Uint8Array, options: ParseOptions = {}): ParsedManifest {
  const problems = new ProblemList();
  const given = new Map<string, Position>();
  const manifest = readManifest(source, options, { problems, given }) as Manifest;
  if (problems.size === 0) {
    const unsaid = manifest.routes.flatMap((_, index) => (given.has(authOf(index)) ? [] : [index]));
    return { manifest: freeze(manifest) as Manifest, routesWithoutAuth: new Set(unsaid) };
  }
  const fieldViolations = problems.inOrder();
  const count = problems.size === 1 ? "a problem" : `${problems.size} problems`;
  const [first] = fieldViolations;
  const where = `line ${first?.line}${first?.field ? `, ${first.field}` : ""}`;
  throw new HmsError(
    "INVALID_ARGUMENT",
    `${options.fileName ?? "The manifest"} has ${count}${problems.size === 1 ? "" : ", first"} in ${where}: ${first?.description}`,
    { reason: "MANIFEST_INVALID", fieldViolations },
  );
}

const authOf = (route: number) => `routes[${route}].auth`;

interface Findings {
  readonly problems: ProblemList;
  /** Where each key stands that was written. */
  readonly given: Map<string, Position>;
}

function readManifest(source: string | Uint8Array, options: ParseOptions, { problems, given }: Findings): unknown {
  const text = decodeManifest(source, problems);
  if (text === undefined) return undefined;
  const yaml = new YamlSource(text, problems);
  if (yaml.malformed) return undefined;
  if (yaml.root === null) {
    problems.add(
      "",
      { line: 1, column: 1 },
      "The manifest is empty. Two keys are enough: name: receipt-svc, and run: {command: node index.js}",
    );
    return undefined;
  }
  const resolveEnv = options.resolveEnv ?? (() => undefined);
  const manifest = readNode(
    manifestSchema,
    { path: "", value: yaml.root, offset: 0 },
    { schema: manifestSchema, source: yaml, problems, resolveEnv, given },
  );
  if (typeof manifest !== "object") return undefined;
  return settle(withDefaultAuth(manifest as Manifest, given, options.routesDefaultAuth), given, problems);
}

type Given = ReadonlyMap<string, Position>;

function withDefaultAuth(read: Manifest, given: Given, auth: ParseOptions["routesDefaultAuth"]): Manifest {
  if (auth === undefined || !Array.isArray(read.routes)) return read;
  const routes = read.routes.map((route, index) => (given.has(authOf(index)) ? route : { ...route, auth }));
  return { ...read, routes };
}

/** Whoever writes how many there may be at most wants the load to decide, unless they say otherwise. */
function settleScaling(scaling: Manifest["scaling"], given: Given): Manifest["scaling"] {
  if (!given.has("scaling.max")) return { ...scaling, max: Math.max(scaling.min, scaling.max) };
  return given.has("scaling.by") || scaling.max <= scaling.min ? scaling : { ...scaling, by: "concurrency" };
}

/** Variables that hold secrets, whether under `secrets` or within a value of `env`, in one place and one form. */
function settleSecrets(read: Manifest, given: Given, problems: ProblemList): Partial<Manifest> {
  const { env, secrets }: { env: unknown; secrets: unknown } = read;
  if (!isMap(env) || !isMap(secrets)) return {};
  const isText = ([, value]: [string, unknown]) => typeof value === "string";
  const named = Object.entries(secrets).filter(isText) as [string, string][];
  for (const [name] of named) {
    if (!Object.hasOwn(env, name)) continue;
    const place = placeOf([`secrets.${name}`], given);
    problems.add(`secrets.${name}`, place, `${name} stands under env, too. Remove one of the two`);
  }
  const within = Object.entries(env).flatMap(([name, value]): [string, string][] =>
    value instanceof SecretText ? [[name, value.template]] : [],
  );
  const whole = named.map(([name, secret]): [string, string] => [name, secretTemplate([{ secret }])]);
  return {
    env: Object.fromEntries(Object.entries(env).filter(isText)) as Manifest["env"],
    secrets: Object.fromEntries([...within, ...whole]),
  };
}

const isMap = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/** Fills in the defaults that depend on other keys, and asks the rules between keys. */
function settle(read: Manifest, given: Given, problems: ProblemList): Manifest {
  const { scaling, health } = read;
  const manifest = { ...read, ...settleSecrets(read, given, problems) };
  if (!problems.touches("scaling.min") && !problems.touches("scaling.max"))
    manifest.scaling = settleScaling(scaling, given);
  if (!problems.touches("health.http")) manifest.health = { ...health, tcp: health.http === undefined };
  for (const { keys, check } of manifestRules) {
    if (keys.some((key) => problems.touches(key))) continue;
    for (const [key, description] of check(manifest, given)) {
      problems.add(key, placeOf([key, ...keys], given), description);
    }
  }
  return manifest;
}

/** Where the first of the keys that was written stands. */
function placeOf(keys: readonly string[], given: Given): Position {
  for (const key of keys) {
    const position = given.get(key);
    if (position) return position;
  }
  return { line: 1, column: 1 };
}

function freeze(value: unknown): unknown {
  if (typeof value === "object" && value !== null)
    for (const inner of Object.values(Object.freeze(value))) freeze(inner);
  return value;
}
