import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { manifestJsonSchema, manifestReferencePage } from "@hms/manifest";
import { writeContractCode } from "./contract-code.ts";

/** Writes everything that follows from a source: the contracts' code, the manifest's JSON Schema and its reference page. */
const SCHEMA = "packages/manifest/hms-manifest.schema.json";

process.chdir(new URL("..", import.meta.url).pathname);
mkdirSync("docs/guide", { recursive: true });
writeFileSync(SCHEMA, JSON.stringify(manifestJsonSchema()));
writeFileSync("docs/guide/manifest.md", manifestReferencePage());
execFileSync("biome", ["format", "--write", SCHEMA], { stdio: "inherit" });
writeContractCode(".");
