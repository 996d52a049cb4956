import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { billOfMaterials, type LockFile } from "./bill-of-materials.ts";

/** Writes dist/bill-of-materials.cdx.json, which is published with the package. */
mkdirSync("dist", { recursive: true });
const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as LockFile;
writeFileSync("dist/bill-of-materials.cdx.json", billOfMaterials(lock));
