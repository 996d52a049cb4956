import type { FileRegistry } from "@bufbuild/protobuf";
import type {
  DescriptorProto,
  EnumDescriptorProto,
  FieldDescriptorProto,
  FileDescriptorProto,
  MethodDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import { fileFeatures, type ResolvedFeatures, withFeatures } from "./resolved-features.ts";

/** Something with a full name, and where it is. */
interface Placed<P> {
  readonly name: string;
  /** The name without the package. */
  readonly nestedName: string;
  readonly proto: P;
  readonly file: FileDescriptorProto;
  readonly features: ResolvedFeatures;
}

/** A message; `mapField` names the field whose map entry it is. */
export interface IndexedMessage extends Placed<DescriptorProto> {
  readonly mapField: string | undefined;
}

/** An enum. */
export type IndexedEnum = Placed<EnumDescriptorProto>;

/** A field of a message, or an extension. */
export interface IndexedField extends Placed<FieldDescriptorProto> {
  /** True for an extension; then `name` is its full name. */
  readonly extension: boolean;
  /** True for key and value of a map. */
  readonly mapEntry: boolean;
}

/** A service and its methods by name. */
export interface IndexedService {
  readonly name: string;
  readonly nestedName: string;
  readonly file: FileDescriptorProto;
  readonly methods: ReadonlyMap<string, MethodDescriptorProto>;
}

/** Packages whose content is a standard: each toolchain brings its own edition, and all are compatible. */
const STANDARD_PACKAGE = "google.protobuf";

/** Finds everything of a contract by its full name; protobuf's own types are left out. */
export class ContractIndex {
  readonly files = new Map<string, FileDescriptorProto>();
  readonly packages = new Set<string>();
  readonly messages = new Map<string, IndexedMessage>();
  readonly enums = new Map<string, IndexedEnum>();
  readonly services = new Map<string, IndexedService>();
  /** By the full name of what they extend, and number: "google.protobuf.MethodOptions 51000". */
  readonly extensions = new Map<string, IndexedField>();

  constructor(registry: FileRegistry) {
    for (const { proto } of registry.files) if (proto.package !== STANDARD_PACKAGE) this.#addFile(proto);
  }

  #addFile(file: FileDescriptorProto): void {
    const features = fileFeatures(file);
    this.files.set(file.name, file);
    this.packages.add(file.package);
    for (const message of file.messageType) this.#addMessage(message, { file, scope: "", features });
    for (const one of file.enumType) this.#addEnum(one, { file, scope: "", features });
    for (const extension of file.extension) this.#addExtension(extension, { file, scope: "", features });
    for (const { name, method } of file.service) {
      const methods = new Map(method.map((one) => [one.name, one]));
      const full = fullName(file.package, name);
      this.services.set(full, { name: full, nestedName: name, file, methods });
    }
  }

  #addMessage(proto: DescriptorProto, place: Place, mapField?: string): void {
    const { file } = place;
    const features = withFeatures(place.features, proto.options?.features);
    const nestedName = fullName(place.scope, proto.name);
    const name = fullName(file.package, nestedName);
    this.messages.set(name, { name, nestedName, proto, file, features, mapField });
    const inner = { file, scope: nestedName, features };
    for (const nested of proto.nestedType) this.#addMessage(nested, inner, mapFieldOf(nested, proto, name));
    for (const one of proto.enumType) this.#addEnum(one, inner);
    for (const extension of proto.extension) this.#addExtension(extension, inner);
  }

  #addEnum(proto: EnumDescriptorProto, { file, scope, features: outer }: Place): void {
    const nestedName = fullName(scope, proto.name);
    const name = fullName(file.package, nestedName);
    this.enums.set(name, { name, nestedName, proto, file, features: withFeatures(outer, proto.options?.features) });
  }

  #addExtension(proto: FieldDescriptorProto, { file, scope, features: outer }: Place): void {
    const nestedName = fullName(scope, proto.name);
    const name = fullName(file.package, nestedName);
    const features = withFeatures(outer, proto.options?.features);
    const extension: IndexedField = { name, nestedName, proto, file, features, extension: true, mapEntry: false };
    this.extensions.set(`${typeNameOf(proto.extendee)} ${proto.number}`, extension);
  }
}

interface Place {
  file: FileDescriptorProto;
  scope: string;
  features: ResolvedFeatures;
}

function fullName(scope: string, name: string): string {
  return scope === "" ? name : `${scope}.${name}`;
}

/** A type's name without the leading dot. */
export function typeNameOf(name: string): string {
  return name.startsWith(".") ? name.slice(1) : name;
}

function mapFieldOf(nested: DescriptorProto, owner: DescriptorProto, ownerName: string): string | undefined {
  if (!nested.options?.mapEntry) return undefined;
  const entry = `${ownerName}.${nested.name}`;
  return owner.field.find(({ typeName }) => typeNameOf(typeName) === entry)?.name;
}

/** The fields of a message by number. */
export function fieldsOf(message: IndexedMessage): Map<number, IndexedField> {
  const { name: owner, nestedName, file, features, proto } = message;
  const mapEntry = proto.options?.mapEntry ?? false;
  return new Map(
    proto.field.map((field) => [
      field.number,
      {
        name: `${owner}.${field.name}`,
        nestedName: `${nestedName}.${field.name}`,
        proto: field,
        file,
        features: withFeatures(features, field.options?.features),
        extension: false,
        mapEntry,
      },
    ]),
  );
}
