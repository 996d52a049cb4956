import { globSync, readFileSync } from "node:fs";

/** The licences of the libraries that these modules belong to, each with the library's name and version. */
export function thirdPartyLicences(moduleIds: readonly string[]): string {
  const folders = moduleIds.flatMap((id) => /^\/.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(id)?.[0] ?? []);
  const parts = [...new Set(folders)].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
    const texts = globSync(`${folder}/{LICEN[CS]E,licen[cs]e,NOTICE}{,.md,.txt}`).sort();
    return [`${name} ${version} (${license})`, ...texts.map((file) => readFileSync(file, "utf8").trim())].join("\n\n");
  });
  return `${parts.join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}
