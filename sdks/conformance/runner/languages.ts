import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** An SDK and how its peer is started. */
export interface Language {
  name: string;
  folder: string;
  command: string[];
  /** Those that can be used on this machine. */
  codecs: string[];
  lacks: string[];
}

interface Declared {
  language: string;
  command: string[];
  probe?: string[];
  build?: string[];
  protobufProbe?: string[];
  codecs: string[];
  lacks?: string[];
}

const sdks = new URL("../..", import.meta.url).pathname;

const succeeds = ([command = "", ...args]: string[], cwd: string) =>
  spawnSync(command, args, { cwd, stdio: "ignore", timeout: 300_000 }).status === 0;

/** The SDKs whose language is installed here; HMS_CONFORMANCE (names with commas) limits them. */
export function languages(): Language[] {
  const wanted = process.env.HMS_CONFORMANCE?.split(",");
  return readdirSync(sdks)
    .map((name) => join(sdks, name))
    .filter((folder) => existsSync(join(folder, "conformance.json")))
    .flatMap((folder) => {
      const declared = JSON.parse(readFileSync(join(folder, "conformance.json"), "utf8")) as Declared;
      if (wanted && !wanted.includes(declared.language)) return [];
      const { language, command, probe, build, protobufProbe, lacks = [] } = declared;
      if ((probe && !succeeds(probe, folder)) || (build && !succeeds(build, folder))) {
        process.stderr.write(`Conformance: ${language} is left out, it is not installed here.\n`);
        return [];
      }
      const without = protobufProbe && !succeeds(protobufProbe, folder) ? ["protobuf"] : [];
      const codecs = declared.codecs.filter((codec) => !without.includes(codec));
      return [{ name: language, folder, command, codecs, lacks }];
    });
}
