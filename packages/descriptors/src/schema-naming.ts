const IDENTIFIER = /^[A-Za-z][A-Za-z0-9_]*$/;

/** Whether a text can be a name in protobuf as it is. */
export function isIdentifier(text: string): boolean {
  return IDENTIFIER.test(text);
}

/** A name in PascalCase of any text; "Part" where nothing of it is left. */
export function pascalCase(text: string): string {
  const words = text.split(/[^A-Za-z0-9]+/).filter((word) => word !== "");
  const name = words.map((word) => word.slice(0, 1).toUpperCase() + word.slice(1)).join("");
  if (name === "") return "Part";
  return /^[0-9]/.test(name) ? `N${name}` : name;
}

/** A field's name of any text, which stays as it is where it can. */
export function fieldNameOf(text: string): string {
  if (isIdentifier(text)) return text;
  const name = text.replace(/[^A-Za-z0-9_]/g, "_");
  return isIdentifier(name) ? name : `f_${name.replace(/^_+/, "")}`;
}

/** protoc's name of the message that a map field's entries are. */
export function mapEntryName(field: string): string {
  return `${field.replace(/(?:^|_)([a-z0-9A-Z]?)/g, (_, letter: string) => letter.toUpperCase())}Entry`;
}

/** SCREAMING_CASE of a name in PascalCase. */
export function screamingCase(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase();
}

/** Names in one scope; each may be given once, and those that were in use before only to what had them. */
export class NameScope {
  readonly #taken = new Set<string>();
  readonly #fields = new Set<string>();
  readonly #kept: Set<string>;

  constructor(kept: Iterable<string> = []) {
    this.#kept = new Set(kept);
  }

  /** Whether something new may have the name. */
  isFree(name: string): boolean {
    return !this.#taken.has(name) && !this.#kept.has(name);
  }

  /** Gives a name that was in use before back to what had it; false if it is not there any more. */
  reclaim(name: string): boolean {
    if (!this.#kept.delete(name)) return false;
    this.#taken.add(name);
    return true;
  }

  /** Gives a name away. */
  take(name: string): string {
    this.#taken.add(name);
    return name;
  }

  /** Gives away the name, or the first free one with a number after it. */
  takeLike(name: string): string {
    return this.take(firstFree(name, (one) => this.isFree(one)));
  }

  /** The same for a field: in some languages names of fields must differ in more than underscores and case. */
  takeFieldLike(name: string): string {
    const isFree = (one: string) => this.isFree(one) && !this.#fields.has(fieldKey(one));
    const free = firstFree(name, isFree);
    this.#fields.add(fieldKey(free));
    return this.take(free);
  }
}

function firstFree(name: string, isFree: (name: string) => boolean): string {
  let free = name;
  for (let number = 2; !isFree(free); number += 1) free = `${name}${number}`;
  return free;
}

function fieldKey(name: string): string {
  return name.replaceAll("_", "").toLowerCase();
}
