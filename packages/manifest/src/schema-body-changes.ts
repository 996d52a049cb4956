import type { ListNode, MapNode, ObjectNode, TextNode } from "./schema-node.ts";

const NAME = "[A-Za-z0-9_$@-]{1,64}";
const ONE = `^(?!__proto__$)${NAME}$`;
const LEADING = `^(?!(.*\\.)?__proto__(\\.|$))${NAME}(\\.${NAME}){0,7}$`;
const LEADING_SHAPE = "a member's name; a.b leads inside, through all items of lists";

const memberName = (pattern: string, shape: string) =>
  ({
    kind: "text",
    description: "A member's name.",
    maxLength: 520,
    shape,
    pattern,
    read: (text) =>
      new RegExp(pattern).test(text)
        ? { value: text }
        : { problem: `is not ${shape}. Write letters, digits, _, $, @ and -, as in total` },
    example: "total",
  }) as const satisfies TextNode;

const renameKey = {
  kind: "map",
  description: "Members that get another name in their object.",
  max: 30,
  nameShape: LEADING_SHAPE,
  namePattern: LEADING,
  reserved: {},
  value: memberName(ONE, "a member's new name, without dots"),
  defaultNote: "none",
  example: "{user.mail: email}",
} as const satisfies MapNode;

const removeKey = {
  kind: "list",
  description: "Members that are left out.",
  max: 30,
  item: memberName(LEADING, LEADING_SHAPE),
  defaultNote: "none",
  example: "[user.password]",
} as const satisfies ListNode;

const addKey = {
  kind: "map",
  description: "Members that are set to a text, over what is there.",
  max: 30,
  nameShape: LEADING_SHAPE,
  namePattern: LEADING,
  reserved: {},
  value: { kind: "text", description: "The member's value.", maxLength: 1024, mayBeEmpty: true, example: "web" },
  defaultNote: "none",
  example: "{source: web}",
} as const satisfies MapNode;

/** How a body that is JSON is changed. */
export const bodyChanges = (description: string) =>
  ({
    kind: "object",
    description,
    properties: {
      rename: renameKey,
      remove: removeKey,
      add: addKey,
      wrap: {
        ...memberName(ONE, "a member's name, without dots"),
        description: "The whole body becomes this member's value.",
        defaultNote: "the body stays",
        example: "data",
      },
      max: {
        kind: "memory",
        min: "1Ki",
        max: "16Mi",
        default: "1Mi",
        description: "Larger bodies are refused: they are held whole.",
      },
    },
  }) as const satisfies ObjectNode;
