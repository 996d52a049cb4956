/** One piece of a template between two slashes. */
type TemplateSegment =
  | { readonly kind: "literal"; readonly text: string }
  /** "*": exactly one segment. */
  | { readonly kind: "one" }
  /** "**": any number of segments, at the end only. */
  | { readonly kind: "rest" };

/** A request field that a part of the path is bound to. */
export interface TemplateVariable {
  /** The field's path as the contract spells it, "book.name". */
  readonly fieldPath: string;
  /** Its first segment. */
  readonly from: number;
  /** The segment after its last one; -1: to the end of the path. */
  readonly to: number;
  /** Whether it may hold slashes: then "%2F" in it stays as it is. */
  readonly isMultiple: boolean;
}

/** A parsed path template of google.api.http. */
export interface PathTemplate {
  readonly source: string;
  readonly segments: readonly TemplateSegment[];
  readonly variables: readonly TemplateVariable[];
  /** Custom verb without its colon. */
  readonly verb: string | undefined;
}

/** A template that does not follow the grammar of google.api.http. */
class TemplateError extends Error {
  override readonly name = "TemplateError";
}

const IDENTIFIER = /[A-Za-z_][A-Za-z0-9_]*/y;
const LITERAL = /(?:[A-Za-z0-9._~!$&'()+,;=@-]|%[0-9A-Fa-f]{2}|\P{ASCII})+/uy;

class TemplateParser {
  readonly #source: string;
  readonly segments: TemplateSegment[] = [];
  readonly variables: TemplateVariable[] = [];
  verb: string | undefined;
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  // Template = "/" Segments [ Verb ]
  parse(): PathTemplate {
    this.#expect("/");
    this.#segments(false);
    if (this.#take(":")) this.verb = this.#match(LITERAL, "the verb");
    if (this.#at < this.#source.length) this.#fail(`${JSON.stringify(this.#source.charAt(this.#at))} is not expected`);
    this.#check();
    return { source: this.#source, segments: this.segments, variables: this.variables, verb: this.verb };
  }

  // Segments = Segment { "/" Segment }
  #segments(inVariable: boolean): void {
    do this.#segment(inVariable);
    while (this.#take("/"));
  }

  // Segment = "*" | "**" | LITERAL | Variable
  #segment(inVariable: boolean): void {
    if (this.#take("**")) this.segments.push({ kind: "rest" });
    else if (this.#take("*")) this.segments.push({ kind: "one" });
    else if (this.#source.charAt(this.#at) === "{") {
      if (inVariable) this.#fail("a variable cannot hold another one");
      this.#variable();
    } else this.segments.push({ kind: "literal", text: decoded(this.#match(LITERAL, "a path segment")) });
  }

  // Variable = "{" FieldPath [ "=" Segments ] "}"
  #variable(): void {
    this.#expect("{");
    const fieldPath = [this.#match(IDENTIFIER, "a field name")];
    while (this.#take(".")) fieldPath.push(this.#match(IDENTIFIER, "a field name"));
    const from = this.segments.length;
    if (this.#take("=")) this.#segments(true);
    else this.segments.push({ kind: "one" });
    this.#expect("}");
    const own = this.segments.slice(from);
    const isRest = own.some(({ kind }) => kind === "rest");
    this.variables.push({
      fieldPath: fieldPath.join("."),
      from,
      to: isRest ? -1 : this.segments.length,
      isMultiple: own.length > 1 || isRest,
    });
  }

  #check(): void {
    const rest = this.segments.findIndex(({ kind }) => kind === "rest");
    if (rest >= 0 && rest < this.segments.length - 1) this.#fail('"**" must be the last segment');
    const names = this.variables.map(({ fieldPath }) => fieldPath);
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) this.#fail(`the variable "${twice}" is there twice`);
  }

  #take(text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #expect(text: string): void {
    if (!this.#take(text)) this.#fail(`"${text}" is missing`);
  }

  #match(pattern: RegExp, what: string): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#source)?.[0];
    if (found === undefined) return this.#fail(`${what} is missing`);
    this.#at += found.length;
    return found;
  }

  #fail(why: string): never {
    throw new TemplateError(`The path ${JSON.stringify(this.#source)} is not a template: ${why} (at ${this.#at}).`);
  }
}

function decoded(literal: string): string {
  try {
    return decodeURIComponent(literal);
  } catch {
    throw new TemplateError(`The path segment ${JSON.stringify(literal)} is not percent-encoded UTF-8.`);
  }
}

/**
 * Parses a path by the grammar in google/api/http.proto.
 * @throws TemplateError saying what is wrong and where
 */
export function parsePathTemplate(source: string): PathTemplate {
  return new TemplateParser(source).parse();
}
