/** What every key of the schema says about itself. */
interface KeyFacts {
  /** One or two sentences for people: what the key does. */
  readonly description: string;
  /** A value as it is written in a manifest. */
  readonly example?: string;
  /** True if there is no default and leaving the key out is an error. */
  readonly required?: true;
  /** Keys of a later version whose use explains that this required one is missing. */
  readonly requiredUnless?: readonly string[];
  /** The default in words, where it depends on other keys. */
  readonly defaultNote?: string;
}

/** What a text reader answers: the value to keep, or what is wrong with it and what to write instead. */
export type TextReading = { readonly value: string } | { readonly problem: string };

/** A text. */
export interface TextNode extends KeyFacts {
  readonly kind: "text";
  readonly default?: string;
  /** The most characters it may have; the least is 1 unless `mayBeEmpty`. */
  readonly maxLength: number;
  readonly mayBeEmpty?: true;
  /** What it must look like, for people. */
  readonly shape?: string;
  /** What it must look like, for editors; `read` decides. */
  readonly pattern?: string;
  readonly read?: (text: string) => TextReading;
  /** True if `${env.NAME}` is replaced in it, and `${secret.NAME}` kept apart. */
  readonly interpolated?: true;
}

/** A whole number within limits. */
export interface WholeNode extends KeyFacts {
  readonly kind: "whole";
  readonly min: number;
  readonly max: number;
  readonly default?: number;
}

/** True or false; `only` if just one of the two makes sense. */
export interface FlagNode extends KeyFacts {
  readonly kind: "flag";
  readonly only?: boolean;
  readonly default?: boolean;
}

/** An amount with a unit, written as in "30s" or "256Mi"; kept as a whole number of milliseconds, bytes or millicores. */
export interface AmountNode<Kind extends string = "duration" | "memory" | "cpu"> extends KeyFacts {
  readonly kind: Kind;
  readonly min: string;
  readonly max: string;
  readonly default?: string;
}

/** A share of the replicas ("25%") or a number of them. */
export interface ShareNode extends KeyFacts {
  readonly kind: "share";
  readonly max: number;
  readonly default?: string;
}

/** One of some words. */
export interface ChoiceNode extends KeyFacts {
  readonly kind: "choice";
  /** Each word with its meaning. */
  readonly choices: Readonly<Record<string, string>>;
  /** Words that a later version will accept, with what to do until then. */
  readonly later?: Readonly<Record<string, string>>;
  readonly default?: string;
}

/** A list of values of one kind; empty if left out. */
export interface ListNode extends KeyFacts {
  readonly kind: "list";
  readonly item: SchemaNode;
  /** The most items; the least is 1, for an empty list says nothing. */
  readonly max: number;
}

/** Freely named values of one kind; empty if left out. */
export interface MapNode extends KeyFacts {
  readonly kind: "map";
  readonly value: SchemaNode;
  /** The most entries. */
  readonly max: number;
  /** What names look like, for people. */
  readonly nameShape: string;
  /** What names look like, for editors and the reader. */
  readonly namePattern: string;
  /** Names that are taken, with the reason. */
  readonly reserved: Readonly<Record<string, string>>;
  /** True if names alone may be listed: each has itself for its value. */
  readonly listed?: true;
}

/** Keys with a meaning each. */
export interface ObjectNode extends KeyFacts {
  readonly kind: "object";
  readonly properties: Readonly<Record<string, SchemaNode>>;
  /** Pairs of keys of which at most one may be written. */
  readonly exclusive?: readonly (readonly [string, string])[];
  /** Keys that a later version will accept, with what to do until then. */
  readonly later?: Readonly<Record<string, string>>;
  /** Keys that people bring from other formats, with what they are called here. */
  readonly elsewhere?: Readonly<Record<string, string>>;
}

/** One node of the manifest's schema: everything else follows from it (reader, JSON Schema, reference page, explain, diff). */
export type SchemaNode =
  | TextNode
  | WholeNode
  | FlagNode
  | AmountNode
  | ShareNode
  | ChoiceNode
  | ListNode
  | MapNode
  | ObjectNode;

/** A share or number of replicas, read. */
export type Surge = { readonly percent: number } | { readonly replicas: number };

const SUFFIXES: Readonly<Record<string, string>> = { duration: "Ms", memory: "Bytes", cpu: "Millicores" };

/** The name of a key in the typed manifest: `start_timeout` of kind duration is `startTimeoutMs`. */
export function outputName(key: string, node: SchemaNode): string {
  return key.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()) + (SUFFIXES[node.kind] ?? "");
}

type Camel<Key extends string> = Key extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : Key;

type Suffix<Node> = Node extends { kind: "duration" }
  ? "Ms"
  : Node extends { kind: "memory" }
    ? "Bytes"
    : Node extends { kind: "cpu" }
      ? "Millicores"
      : "";

type AlwaysThere = { required: true } | { default: unknown } | { kind: "object" | "list" | "map" };

type ObjectValue<Properties> = Flat<
  {
    readonly [Key in keyof Properties & string as Properties[Key] extends AlwaysThere
      ? `${Camel<Key>}${Suffix<Properties[Key]>}`
      : never]: ValueOf<Properties[Key]>;
  } & {
    readonly [Key in keyof Properties & string as Properties[Key] extends AlwaysThere
      ? never
      : `${Camel<Key>}${Suffix<Properties[Key]>}`]?: ValueOf<Properties[Key]>;
  }
>;

type Flat<Type> = { [Key in keyof Type]: Type[Key] };

/** The type of what a schema node reads to. */
export type ValueOf<Node> = Node extends { kind: "text" }
  ? string
  : Node extends { kind: "whole" | "duration" | "memory" | "cpu" }
    ? number
    : Node extends { kind: "flag" }
      ? boolean
      : Node extends { kind: "share" }
        ? Surge
        : Node extends { kind: "choice"; choices: infer Choices }
          ? keyof Choices
          : Node extends { kind: "list"; item: infer Item }
            ? readonly ValueOf<Item>[]
            : Node extends { kind: "map"; value: infer Value }
              ? Readonly<Record<string, ValueOf<Value>>>
              : Node extends { kind: "object"; properties: infer Properties }
                ? ObjectValue<Properties>
                : never;
