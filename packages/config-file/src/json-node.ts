/** A value of a JSON text, and where it begins. */
export type JsonNode =
  | { readonly kind: "scalar"; readonly value: string | number | boolean | null; readonly offset: number }
  | { readonly kind: "list"; readonly items: readonly JsonNode[]; readonly offset: number }
  | { readonly kind: "object"; readonly members: readonly JsonMember[]; readonly offset: number };

/** A key of an object with its value. */
export interface JsonMember {
  readonly name: string;
  readonly offset: number;
  readonly value: JsonNode;
}

/** Why a text is no JSON, and where. */
export class JsonSyntaxError extends Error {
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

const DEEPEST = 20;
const SPACE = /[ \t\n\r]*/y;
const SCALAR = /"(?:[^"\\\n]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/**
 * Reads a JSON text (RFC 8259) with the place of everything in it.
 * @throws JsonSyntaxError
 */
export function readJson(text: string): JsonNode {
  const reader = new JsonReader(text);
  const node = reader.value(0);
  reader.end();
  return node;
}

class JsonReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): JsonNode {
    this.#space();
    if (depth > DEEPEST) throw new JsonSyntaxError("is nested too deeply for this file", this.#at);
    const offset = this.#at;
    if (this.#take("{")) return { kind: "object", members: this.#members(depth), offset };
    if (this.#take("[")) return { kind: "list", items: this.#items(depth), offset };
    return { kind: "scalar", value: this.#scalar() as string, offset };
  }

  end(): void {
    this.#space();
    if (this.#at < this.#text.length) throw new JsonSyntaxError("goes on after its end; remove the rest", this.#at);
  }

  #space(): void {
    SPACE.lastIndex = this.#at;
    SPACE.test(this.#text);
    this.#at = SPACE.lastIndex;
  }

  #take(character: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #scalar(): unknown {
    SCALAR.lastIndex = this.#at;
    const [source] = SCALAR.exec(this.#text) ?? [];
    try {
      const value: unknown = JSON.parse(source ?? "");
      this.#at += source?.length ?? 0;
      return value;
    } catch {
      throw new JsonSyntaxError("has no value here: a text in double quotes, a number, true, false, [ or {", this.#at);
    }
  }

  #items(depth: number): JsonNode[] {
    const items: JsonNode[] = [];
    if (this.#take("]")) return items;
    do items.push(this.value(depth + 1));
    while (this.#take(","));
    if (!this.#take("]")) throw new JsonSyntaxError("needs a comma or ] here", this.#at);
    return items;
  }

  #members(depth: number): JsonMember[] {
    const members: JsonMember[] = [];
    if (this.#take("}")) return members;
    do {
      this.#space();
      const offset = this.#at;
      if (this.#text[offset] !== '"') throw new JsonSyntaxError("needs a key in double quotes here", offset);
      const name = this.#scalar() as string;
      if (!this.#take(":")) throw new JsonSyntaxError(`needs a colon after the key "${name.slice(0, 40)}"`, this.#at);
      members.push({ name, offset, value: this.value(depth + 1) });
    } while (this.#take(","));
    if (!this.#take("}")) throw new JsonSyntaxError("needs a comma or } here", this.#at);
    return members;
  }
}
