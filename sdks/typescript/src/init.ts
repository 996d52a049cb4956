/**
 * What may be given where a value of type T is read: fields may be left out, 64-bit numbers be numbers or texts, moments
 * texts, lists and objects read-only.
 */
export type Init<T> = T extends bigint
  ? bigint | number | string
  : T extends Date
    ? Date | string
    : T extends Uint8Array
      ? Uint8Array
      : T extends readonly (infer Item)[]
        ? readonly Init<Item>[]
        : T extends object
          ? { readonly [Name in keyof T]?: Name extends OfEveryObject ? unknown : Init<T[Name]> | undefined }
          : T;

/** Fields of these names look as if every object had them, as functions. */
type OfEveryObject =
  | "constructor"
  | "toString"
  | "toLocaleString"
  | "valueOf"
  | "hasOwnProperty"
  | "isPrototypeOf"
  | "propertyIsEnumerable";

/** What a handler may answer where its caller reads T. */
export type Answer<T> = Init<T> | Promise<Init<T>>;
