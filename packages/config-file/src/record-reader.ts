import { nearestName } from "@hms/manifest";
import type { JsonMember, JsonNode } from "./json-node.ts";
import type { Problems } from "./problems.ts";

/** What is wrong with a text, as the rest of a sentence about it; undefined: nothing. */
export type TextCheck = (text: string) => string | undefined;

/** How the value of a key is read. */
export interface KeyOptions {
  /** Another spelling of the key that is taken too. */
  alias?: string;
  check?: TextCheck;
}

/** Reads one object of a configuration file key by key and notes everything that is wrong with it. */
export class RecordReader {
  /** Where it begins in the text. */
  readonly offset: number;
  readonly #path: string;
  readonly #problems: Problems;
  readonly #members = new Map<string, JsonMember>();
  readonly #known: string[] = [];

  constructor(node: JsonNode & { kind: "object" }, path: string, problems: Problems) {
    this.offset = node.offset;
    this.#path = path;
    this.#problems = problems;
    for (const member of node.members) {
      if (this.#members.has(member.name)) this.#refuse(member.name, member.offset, "stands here twice; keep one");
      this.#members.set(member.name, member);
    }
  }

  /** A text; empty if it is missing, which is a problem unless there is a `fallback`. */
  text(key: string, { fallback, ...options }: KeyOptions & { fallback?: string } = {}): string {
    const member = this.#take(key, options);
    if (member === undefined) {
      if (fallback === undefined) this.#refuse(key, this.offset, "is missing");
      return fallback ?? "";
    }
    return this.#textOf(member.value, key, options.check) ?? "";
  }

  /** A list of texts without repetition; default none. */
  texts(key: string, options: KeyOptions = {}): string[] {
    const member = this.#take(key, options);
    if (member === undefined) return [];
    if (member.value.kind !== "list") {
      this.#refuse(key, member.value.offset, `is a list of texts; write ["…"]`);
      return [];
    }
    const texts = member.value.items.map((item, index) => this.#textOf(item, `${key}[${index}]`, options.check) ?? "");
    return [...new Set(texts)];
  }

  /** A list of objects, each read like the whole record; default none. */
  records<T>(key: string, read: (reader: RecordReader) => T): T[] {
    const member = this.#take(key, {});
    if (member === undefined) return [];
    const { value } = member;
    if (value.kind !== "list") {
      this.#refuse(key, value.offset, "is a list of objects; write [{…}]");
      return [];
    }
    return value.items.flatMap((item, index) => {
      const path = this.#path === "" ? `${key}[${index}]` : `${this.#path}.${key}[${index}]`;
      if (item.kind !== "object") {
        this.#problems.add(path, item.offset, "is no object; write {…}");
        return [];
      }
      const reader = new RecordReader(item, path, this.#problems);
      const record = read(reader);
      reader.end();
      return [record];
    });
  }

  /** true or false; default false. */
  flag(key: string): boolean {
    const member = this.#take(key, {});
    const value = member?.value;
    if (value === undefined) return false;
    if (value.kind === "scalar" && typeof value.value === "boolean") return value.value;
    this.#refuse(key, value.offset, "is true or false, without quotes");
    return false;
  }

  /** One of some words, as what it means; the fallback if it is missing. */
  word<T>(key: string, words: Readonly<Record<string, T>>, fallback: T | undefined): T | undefined {
    const member = this.#take(key, {});
    if (member === undefined) {
      if (fallback === undefined)
        this.#refuse(key, this.offset, `is missing; write ${alternatives(Object.keys(words))}`);
      return fallback;
    }
    const text = this.#textOf(member.value, key);
    if (text === undefined || Object.hasOwn(words, text)) return text === undefined ? fallback : words[text];
    const nearest = nearestName(text, Object.keys(words));
    const advice = nearest === undefined ? `write ${alternatives(Object.keys(words))}` : `did you mean "${nearest}"?`;
    this.#refuse(key, member.value.offset, `cannot be ${quoted(text)}; ${advice.replace(/\?$/, "")}`);
    return fallback;
  }

  /** Notes something that is wrong with a key, or with the whole object. */
  refuse(key: string, description: string): void {
    this.#refuse(key, this.#members.get(key)?.value.offset ?? this.offset, description);
  }

  /** Notes every key that was not asked for. */
  end(): void {
    for (const { name, offset } of this.#members.values()) {
      const nearest = nearestName(name, this.#known);
      const advice = nearest === undefined ? `possible are ${this.#known.join(", ")}` : `did you mean ${nearest}`;
      this.#refuse(name, offset, `is no key here; ${advice}`);
    }
  }

  #take(key: string, { alias }: KeyOptions): JsonMember | undefined {
    this.#known.push(key);
    const [member, other] = [this.#members.get(key), alias === undefined ? undefined : this.#members.get(alias)];
    this.#members.delete(key);
    if (alias !== undefined) this.#members.delete(alias);
    if (member && other) this.#refuse(alias ?? "", other.offset, `means the same as ${key}; keep ${key}`);
    return member ?? other;
  }

  #textOf(node: JsonNode, key: string, check?: TextCheck): string | undefined {
    if (node.kind !== "scalar" || typeof node.value !== "string") {
      this.#refuse(key, node.offset, "is a text in double quotes");
      return undefined;
    }
    const problem = check?.(node.value);
    if (problem !== undefined) this.#refuse(key, node.offset, problem);
    return node.value;
  }

  #refuse(key: string, offset: number, description: string): void {
    const field = this.#path !== "" && key !== "" ? `${this.#path}.${key}` : this.#path + key;
    this.#problems.add(field, offset, description);
  }
}

const alternatives = (words: readonly string[]) => words.map((word) => `"${word}"`).join(" or ");
const quoted = (text: string) => JSON.stringify(text.slice(0, 60));
