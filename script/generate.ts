import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { manifestJsonSchema, manifestReferencePage } from "@hms/manifest";
import { comparePolicies, rushPlot, withFigures } from "@hms/scaling/simulation";
import { writeContractCode } from "./contract-code.ts";

/**
 * Writes everything that follows from a source: the contracts' code, the manifest's JSON Schema and its reference page, and
 * what simulations say of scaling.
 */
const SCHEMA = "packages/manifest/hms-manifest.schema.json";
const SCALING = "docs/guide/scaling.md";

process.chdir(new URL("..", import.meta.url).pathname);
mkdirSync("docs/guide", { recursive: true });
writeFileSync(SCHEMA, JSON.stringify(manifestJsonSchema()));
writeFileSync("docs/guide/manifest.md", manifestReferencePage());
execFileSync("biome", ["format", "--write", SCHEMA], { stdio: "inherit" });
const scaling = comparePolicies();
writeFileSync(SCALING, withFigures(readFileSync(SCALING, "utf8"), scaling));
writeFileSync("docs/guide/images/scaling-rush.svg", rushPlot(scaling));
writeContractCode(".");
