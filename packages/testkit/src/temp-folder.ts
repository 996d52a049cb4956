import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

/** A folder that disposing removes. */
export interface TempFolder extends Disposable {
  path: string;
  /** As a URL that ends with a slash. */
  url: URL;
}

/** Makes a folder with these files (path → content) below /tmp; everybody may read it. */
export function tempFolder(files: Record<string, string> = {}): TempFolder {
  const path = mkdtempSync("/tmp/hms-f-");
  chmodSync(path, 0o755);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), content);
  }
  return {
    path,
    url: pathToFileURL(`${path}/`),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}
