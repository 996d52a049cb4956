import { createRequire } from "node:module";
import type * as Yaml from "yaml";
import type { Position, ProblemList } from "./problem-list.ts";

const MAX_ALIASES = 32;

// Loaded on first use: most commands that import this package read no manifest.
const require = createRequire(import.meta.url);
let loaded: typeof Yaml | undefined;
function yaml(): typeof Yaml {
  loaded ??= require("yaml") as typeof Yaml;
  return loaded;
}

/** A node of the document as it is used here: resolved, typed by what it holds. */
export type YamlNode =
  | { kind: "scalar"; value: unknown; source: string; offset: number }
  | { kind: "map"; pairs: YamlPair[]; offset: number }
  | { kind: "list"; items: Yaml.Node[]; offset: number };

/** A key with its value, both as written. */
export interface YamlPair {
  key: Yaml.Node | null;
  value: Yaml.Node | null;
}

/** One YAML document with positions; reports what is wrong with the YAML itself. */
export class YamlSource {
  readonly #document: Yaml.Document.Parsed;
  readonly #lines: Yaml.LineCounter;
  readonly #problems: ProblemList;
  #aliases = 0;
  /** True if the YAML is so malformed that its keys cannot be trusted. */
  readonly malformed: boolean;

  constructor(text: string, problems: ProblemList) {
    const { LineCounter, parseDocument } = yaml();
    this.#problems = problems;
    this.#lines = new LineCounter();
    // Duplicate keys are found while reading: the library compares every key with every other one.
    const options = { version: "1.2", uniqueKeys: false, prettyErrors: false, logLevel: "error" } as const;
    this.#document = parseDocument(text, { ...options, lineCounter: this.#lines });
    const { explicit, version } = this.#document.directives.yaml;
    if (explicit && version !== "1.2") {
      problems.add("", { line: 1, column: 1 }, `Manifests are YAML 1.2, not ${version}. Remove the %YAML line`);
    }
    this.malformed = this.#document.errors.some((error) => error.code !== "MULTIPLE_DOCS");
    this.#reportSyntax();
  }

  /** The document's content; null if it is empty. */
  get root(): Yaml.Node | null {
    return this.#document.contents;
  }

  /** Where an offset is in the text. */
  position(offset: number): Position {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  }

  /** What stands at a place, aliases followed and tags refused; undefined if that was reported as a problem. */
  node(value: Yaml.Node | null, field: string, fallback: number): YamlNode | undefined {
    const { isAlias, isMap, isSeq } = yaml();
    if (value === null) return { kind: "scalar", value: null, source: "", offset: fallback };
    const target = isAlias(value) ? this.#follow(value, field) : value;
    if (!target) return undefined;
    const offset = target.range?.[0] ?? fallback;
    if (target.tag && !(target.tag === "tag:yaml.org,2002:str")) {
      this.#problems.add(
        field,
        this.position(offset),
        `YAML tags (here ${tagName(target.tag)}) are not used in manifests. Remove it`,
      );
      return undefined;
    }
    if (isMap<Yaml.Node, Yaml.Node | null>(target)) return { kind: "map", pairs: target.items, offset };
    if (isSeq<Yaml.Node>(target)) return { kind: "list", items: target.items, offset };
    const scalar = target as Yaml.Scalar;
    return { kind: "scalar", value: scalar.value, source: scalar.source ?? String(scalar.value), offset };
  }

  /** The text of a key and where it stands; `name` is undefined if the key is not a text. */
  key(pair: YamlPair, fallback: number): { name: string | undefined; offset: number } {
    const offset = pair.key?.range?.[0] ?? fallback;
    const value = yaml().isScalar(pair.key) ? pair.key.value : undefined;
    return { name: typeof value === "string" ? value : undefined, offset };
  }

  #follow(alias: Yaml.Alias, field: string): Exclude<Yaml.Node, Yaml.Alias> | undefined {
    this.#aliases += 1;
    const position = this.position(alias.range?.[0] ?? 0);
    if (this.#aliases > MAX_ALIASES) {
      const description = `A manifest may use at most ${MAX_ALIASES} YAML aliases (*name). Write the values out`;
      this.#problems.add(field, position, description);
      return undefined;
    }
    const target = alias.resolve(this.#document);
    if (target && !yaml().isAlias(target)) return target as Exclude<Yaml.Node, Yaml.Alias>;
    this.#problems.add(
      field,
      position,
      `The YAML alias *${alias.source} has no anchor &${alias.source} before it. Write the value out`,
    );
    return undefined;
  }

  #reportSyntax(): void {
    const lines = new Set<number>();
    for (const error of this.#document.errors) {
      const position = this.position(error.pos[0]);
      // One slip makes the library complain many times about the same line.
      if (lines.has(position.line)) continue;
      lines.add(position.line);
      this.#problems.add(
        "",
        position,
        SYNTAX[error.code] ?? `This is not well-formed YAML: ${sentence(error.message)}`,
      );
    }
  }
}

const sentence = (message: string) =>
  message
    .replace(/\s+/g, " ")
    .replace(/[.\s]+$/, "")
    .slice(0, 200);

const tagName = (tag: string) => tag.replace("tag:yaml.org,2002:", "!!").slice(0, 40);

/** The library's error codes that people meet, in words that say what to do. */
const SYNTAX: Partial<Record<Yaml.ErrorCode, string>> = {
  TAB_AS_INDENT: "A tab indents this line, and YAML allows spaces only. Replace it by spaces",
  BAD_INDENT: "This line is indented differently from its neighbours. Give keys of one group the same number of spaces",
  MULTIPLE_DOCS:
    "A second document begins here (---), and a manifest is one service. Put each service into a file of its own",
  RESOURCE_EXHAUSTION: "The file is nested too deeply for a manifest. Is this the right file?",
  MULTILINE_IMPLICIT_KEY: "A key must fit on one line and end with a colon. Is a colon missing, or a quote?",
  BLOCK_AS_IMPLICIT_KEY: 'This line has a second key, or a colon in its text. Put text with ": " in quotes',
  KEY_OVER_1024_CHARS: "A key must be shorter than 1024 characters. Is a line break missing?",
  BAD_SCALAR_START: "A text cannot start with this character. Put it in quotes",
  BAD_DQ_ESCAPE: "Text in double quotes has a backslash here that means nothing. Write \\\\, or use single quotes",
};
