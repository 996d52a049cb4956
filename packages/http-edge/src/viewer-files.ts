import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { HmsError } from "@hms/kernel";

/** The files of Swagger UI that the reference page uses, by the name it asks for. */
const FILES: Readonly<Record<string, { file: string; type: string }>> = {
  "viewer.js": { file: "swagger-ui-bundle.js", type: "text/javascript; charset=utf-8" },
  "viewer.css": { file: "swagger-ui.css", type: "text/css; charset=utf-8" },
};

// A release brings the files along; a checkout has them from npm.
function folder(): string {
  const own = join(import.meta.dirname, "../viewer");
  if (existsSync(own)) return own;
  return dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
}

const loaded = new Map<string, Promise<Buffer>>();

/**
 * A file of the viewer; undefined if it has none of that name.
 * @throws HmsError FAILED_PRECONDITION if it is not installed
 */
export async function viewerFile(name: string): Promise<{ body: Buffer; type: string } | undefined> {
  const found = Object.hasOwn(FILES, name) ? FILES[name] : undefined;
  if (found === undefined) return undefined;
  const reading = loaded.get(name) ?? read(found.file);
  loaded.set(name, reading);
  try {
    return { body: await reading, type: found.type };
  } catch (cause) {
    loaded.delete(name);
    throw new HmsError("FAILED_PRECONDITION", "The viewer of the reference page is not installed; /openapi.json is.", {
      cause,
    });
  }
}

async function read(file: string): Promise<Buffer> {
  return readFile(join(folder(), file));
}
