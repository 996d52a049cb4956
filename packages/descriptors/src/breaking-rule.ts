/** What a breaking rule means for people. */
interface RuleMeaning {
  /** "error" breaks callers at run time; "warning" breaks those who build from the contract. */
  readonly severity: "error" | "warning";
  /** Whom a violation breaks, and why. */
  readonly breaks: string;
  /** What to do instead. */
  readonly instead: string;
}

const error = (breaks: string, instead: string): RuleMeaning => ({ severity: "error", breaks, instead });
const warning = (breaks: string, instead: string): RuleMeaning => ({ severity: "warning", breaks, instead });

const NEW_FIELD = "Keep it as it is, and add a new field with a new number.";
const NEW_METHOD = "Keep the method as it is, and add a new one, or a new version of the contract.";
const REBUILD = "Programs built from the contract no longer compile or behave as before.";
const KEEP = "Keep it until the next version of the contract.";
const RESERVED_AGAIN = "Somebody may still send what was reserved, and it would be read as something else.";
const OPTION = "Keep the option as it was.";

/** The rules of `buf breaking` (https://buf.build/docs/breaking/rules), WIRE_JSON and PACKAGE, by their names there. */
export const breakingRules = {
  ENUM_SAME_JSON_FORMAT: error("Callers that use JSON are no longer understood.", "Leave json_format as it was."),
  ENUM_VALUE_SAME_NAME: error(
    "Callers that use JSON send and expect the old name.",
    "Keep the name; an alias may be added beside it (allow_alias).",
  ),
  ENUM_VALUE_NO_DELETE_UNLESS_NAME_RESERVED: error(
    "Callers that use JSON still send the name, and a later value may take it for something else.",
    "Keep the value, or reserve its name.",
  ),
  ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED: error(
    "Callers still send the number, and a later value may take it for something else.",
    "Keep the value, or reserve its number.",
  ),
  FIELD_SAME_JSON_NAME: error("Callers that use JSON send and expect the old name.", "Keep the JSON name."),
  FIELD_SAME_NAME: error("Callers that use JSON or field masks send and expect the old name.", "Keep the name."),
  FIELD_SAME_DEFAULT: error(
    "Callers built before and after read a message without the field differently.",
    "Keep the default.",
  ),
  FIELD_SAME_ONEOF: error("Callers of before lose fields that exclude each other only for one side.", NEW_FIELD),
  FIELD_NO_DELETE_UNLESS_NAME_RESERVED: error(
    "Callers that use JSON still send the name, and a later field may take it for something else.",
    "Keep the field, or reserve its name.",
  ),
  FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED: error(
    "Callers still send the number, and a later field may read it as something else.",
    "Keep the field, or reserve its number.",
  ),
  FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY: error("Callers of before send what is now read differently.", NEW_FIELD),
  FIELD_WIRE_JSON_COMPATIBLE_TYPE: error("Callers of before send what is now read differently.", NEW_FIELD),
  FILE_SAME_PACKAGE: error("Everything in the file has another name for callers.", "Keep the package."),
  MESSAGE_SAME_JSON_FORMAT: error("Callers that use JSON are no longer understood.", "Leave json_format as it was."),
  MESSAGE_SAME_REQUIRED_FIELDS: error(
    "A side that does not know a required field refuses, or is refused.",
    "Make the field optional when it is added, and never remove a required one.",
  ),
  RESERVED_ENUM_NO_DELETE: error(RESERVED_AGAIN, "Leave it reserved, and use another number and name."),
  RESERVED_MESSAGE_NO_DELETE: error(RESERVED_AGAIN, "Leave it reserved, and use another number and name."),
  RPC_SAME_CLIENT_STREAMING: error("Callers of before speak the other kind of call.", NEW_METHOD),
  RPC_SAME_SERVER_STREAMING: error("Callers of before speak the other kind of call.", NEW_METHOD),
  RPC_SAME_IDEMPOTENCY_LEVEL: error("Callers repeat calls by what it says, and REST callers use GET by it.", OPTION),
  RPC_SAME_REQUEST_TYPE: error("Callers of before send the other message.", NEW_METHOD),
  RPC_SAME_RESPONSE_TYPE: error("Callers of before expect the other message.", NEW_METHOD),
  // Of buf's PACKAGE category, but for a contract that is being called a missing method is no matter of code alone.
  RPC_NO_DELETE: error("Callers of the method get UNIMPLEMENTED.", "Keep the method; mark it deprecated."),
  PACKAGE_SERVICE_NO_DELETE: error("Callers of its methods get UNIMPLEMENTED.", "Keep the service."),
  ENUM_SAME_TYPE: warning(REBUILD, "Leave the enum open or closed, as it was."),
  ENUM_VALUE_NO_DELETE: warning(REBUILD, KEEP),
  EXTENSION_MESSAGE_NO_DELETE: warning(REBUILD, KEEP),
  FIELD_NO_DELETE: warning(REBUILD, KEEP),
  FIELD_SAME_CARDINALITY: warning(REBUILD, KEEP),
  FIELD_SAME_JSTYPE: warning(REBUILD, OPTION),
  FIELD_SAME_TYPE: warning(REBUILD, KEEP),
  FIELD_SAME_UTF8_VALIDATION: warning("Texts that one side accepts the other refuses.", OPTION),
  FILE_SAME_SYNTAX: warning(REBUILD, "Leave the syntax as it was."),
  MESSAGE_NO_REMOVE_STANDARD_DESCRIPTOR_ACCESSOR: warning(REBUILD, OPTION),
  ONEOF_NO_DELETE: warning(REBUILD, KEEP),
  PACKAGE_ENUM_NO_DELETE: warning(REBUILD, KEEP),
  PACKAGE_EXTENSION_NO_DELETE: warning(REBUILD, KEEP),
  PACKAGE_MESSAGE_NO_DELETE: warning(REBUILD, KEEP),
  PACKAGE_NO_DELETE: warning(REBUILD, KEEP),
  FILE_SAME_CC_ENABLE_ARENAS: warning(REBUILD, OPTION),
  FILE_SAME_CC_GENERIC_SERVICES: warning(REBUILD, OPTION),
  FILE_SAME_CSHARP_NAMESPACE: warning(REBUILD, OPTION),
  FILE_SAME_GO_PACKAGE: warning(REBUILD, OPTION),
  FILE_SAME_JAVA_GENERIC_SERVICES: warning(REBUILD, OPTION),
  FILE_SAME_JAVA_MULTIPLE_FILES: warning(REBUILD, OPTION),
  FILE_SAME_JAVA_OUTER_CLASSNAME: warning(REBUILD, OPTION),
  FILE_SAME_JAVA_PACKAGE: warning(REBUILD, OPTION),
  FILE_SAME_OBJC_CLASS_PREFIX: warning(REBUILD, OPTION),
  FILE_SAME_OPTIMIZE_FOR: warning(REBUILD, OPTION),
  FILE_SAME_PHP_CLASS_PREFIX: warning(REBUILD, OPTION),
  FILE_SAME_PHP_METADATA_NAMESPACE: warning(REBUILD, OPTION),
  FILE_SAME_PHP_NAMESPACE: warning(REBUILD, OPTION),
  FILE_SAME_PY_GENERIC_SERVICES: warning(REBUILD, OPTION),
  FILE_SAME_RUBY_PACKAGE: warning(REBUILD, OPTION),
  FILE_SAME_SWIFT_PREFIX: warning(REBUILD, OPTION),
} as const satisfies Record<string, RuleMeaning>;

/** The name of a rule. */
export type BreakingRule = keyof typeof breakingRules;

/** One violation of a rule, before it is explained. */
export interface Finding {
  readonly rule: BreakingRule;
  /** The path of the file in the contract before. */
  readonly file: string;
  /** Full name of what changed: a file, message, field, enum, value or method. */
  readonly subject: string;
  /** What changed, as a sentence. */
  readonly change: string;
}
