import type { DescEnum, DescMessage } from "@bufbuild/protobuf";

const pascal = (name: string) => name.replace(/(?:^|[._-])([a-zA-Z0-9])/g, (_, letter: string) => letter.toUpperCase());

/**
 * Names that are each given once: a name that is taken, or that means something to the language, gets another one. The
 * same requests in the same order give the same names.
 */
export class TypeNames {
  readonly #reserved: ReadonlySet<string>;
  readonly #taken: Set<string>;
  readonly #own = new Map<DescMessage | DescEnum, string>();

  constructor(reserved: Iterable<string>) {
    this.#reserved = new Set(reserved);
    this.#taken = new Set(this.#reserved);
  }

  /** Takes a name, or the next free one with underscores at its end. */
  take(name: string): string {
    let free = name;
    while (this.#taken.has(free)) free += "_";
    this.#taken.add(free);
    return free;
  }

  /** Gives a type its name: that of the contract, nested ones with underscores; after its package if that is taken. */
  add(desc: DescMessage | DescEnum, suffixes: readonly string[] = [""]): void {
    const { package: packageName } = desc.file.proto;
    const given = desc.typeName.slice(packageName === "" ? 0 : packageName.length + 1).replaceAll(".", "_");
    const short = this.#reserved.has(given) ? `${given}_` : given;
    const isFree = suffixes.every((suffix) => !this.#taken.has(short + suffix));
    let name = isFree ? short : `${pascal(packageName)}${short}`;
    while (suffixes.some((suffix) => this.#taken.has(name + suffix))) name += "_";
    for (const suffix of suffixes) this.#taken.add(name + suffix);
    this.#own.set(desc, name);
  }

  /** Whether a name means something already. */
  has(name: string): boolean {
    return this.#taken.has(name);
  }

  /** The name that a type was given. */
  of(desc: DescMessage | DescEnum): string {
    return this.#own.get(desc) ?? "unknown";
  }
}

/** "Debate" of "DebateService". */
export function baseName(service: string): string {
  return service.replace(/Service$/, "") || service;
}

/** "Debate" of "hms.cdf.debate". */
export function nameOfPackage(serviceId: string): string {
  return pascal(serviceId.slice(serviceId.lastIndexOf(".") + 1));
}

/** A contract's name as Python has it: "get_price" of "GetPrice". */
export function snakeName(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/([A-Z]+)([A-Z][a-z])/g, "$1_$2")
    .toLowerCase();
}
