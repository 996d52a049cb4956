export { surgeReplicas } from "./amount.ts";
export type { ResolveEnv } from "./environment-reference.ts";
export { formatViolations } from "./format-violations.ts";
export type { Manifest } from "./manifest-schema.ts";
export { type ParseOptions, parseManifest } from "./parse-manifest.ts";
export type { Surge } from "./schema-node.ts";
