import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** An SDK and how its peer is started. */
export interface Language {
  name: string;
  folder: string;
  command: string[];
  env: Record<string, string>;
  /** Another way to call of an SDK that also plays under its own name, where it serves. */
  callsOnly: boolean;
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
  /** Other ways to call with the same SDK, each with what its peer's environment has then. */
  variants?: Record<string, Record<string, string>>;
}

/** Who plays, and what with. */
export interface LanguageOptions {
  /** The variants too, each as a caller of its own; default false. */
  variants?: boolean;
  /** Changes the peers' and probes' environment. */
  env?: Record<string, string>;
}

const sdks = new URL("../..", import.meta.url).pathname;

const succeeds = ([command = "", ...args]: string[], cwd: string, env: Record<string, string>) =>
  spawnSync(command, args, { cwd, stdio: "ignore", timeout: 300_000, env: { ...process.env, ...env } }).status === 0;

/** The SDKs whose language is installed here; HMS_CONFORMANCE (names with commas) limits them. */
export function languages({ variants: withVariants = false, env = {} }: LanguageOptions = {}): Language[] {
  const wanted = process.env.HMS_CONFORMANCE?.split(",");
  return readdirSync(sdks)
    .map((name) => join(sdks, name))
    .filter((folder) => existsSync(join(folder, "conformance.json")))
    .flatMap((folder) => {
      const declared = JSON.parse(readFileSync(join(folder, "conformance.json"), "utf8")) as Declared;
      if (wanted && !wanted.includes(declared.language)) return [];
      const { language, command, probe, build, protobufProbe, lacks = [], variants = {} } = declared;
      const works = (program: string[] | undefined) => program === undefined || succeeds(program, folder, env);
      if (!works(probe) || !works(build)) {
        process.stderr.write(`Conformance: ${language} is left out, it is not installed here.\n`);
        return [];
      }
      const without = works(protobufProbe) ? [] : ["protobuf"];
      const codecs = declared.codecs.filter((codec) => !without.includes(codec));
      const own: Language = { name: language, folder, command, env, callsOnly: false, codecs, lacks };
      const others = Object.entries(withVariants ? variants : {}).map(([name, more]) => ({
        ...own,
        name: `${language} ${name}`,
        env: { ...env, ...more },
        callsOnly: true,
      }));
      return [own, ...others];
    });
}
