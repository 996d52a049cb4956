import {
  type AnyDesc,
  type DescExtension,
  type FileRegistry,
  getExtension,
  hasExtension,
  type Message,
} from "@bufbuild/protobuf";
import { ffiOptions, httpAnnotations, validate } from "@hms/contracts";

/** The options that the platform reads. */
const READ: readonly DescExtension[] = [
  httpAnnotations.http,
  ffiOptions.rule,
  validate.field,
  validate.message,
  validate.oneof,
];

function* descriptorsOf(files: FileRegistry): Generator<AnyDesc> {
  for (const desc of files) {
    yield desc;
    if (desc.kind === "service") yield* desc.methods;
    if (desc.kind !== "message") continue;
    yield* desc.fields;
    yield* desc.oneofs;
  }
}

function isUnreadable(options: Message, option: DescExtension): boolean {
  try {
    if (hasExtension(options, option)) getExtension(options, option);
    return false;
  } catch {
    return true;
  }
}

/**
 * Which option of the platform's holds bytes that mean nothing, as a clause: whoever reads it later would fail, for this
 * contract and perhaps for others beside it. Undefined if there is none.
 */
export function optionsProblem(files: FileRegistry): string | undefined {
  for (const desc of descriptorsOf(files)) {
    const options: Message | undefined = desc.proto.options;
    if (options?.$unknown === undefined) continue;
    const broken = READ.find(
      (option) => option.extendee.typeName === options.$typeName && isUnreadable(options, option),
    );
    if (broken) return `the option (${broken.typeName}) of ${desc.toString()} cannot be read`;
  }
  return undefined;
}
