import { describe, expect, test } from "vitest";
import { isTopic, isTopicPattern, topicExpression } from "./topic.ts";

const matches = (pattern: string, topic: string) => {
  const expression = topicExpression([pattern]);
  return expression === null || new RegExp(expression).test(topic);
};

describe("a topic", () => {
  test.each(["a", "hms.sys.deployment.rollout.succeeded", "a-b.C_d.9"])("may be %s", (topic) => {
    expect(isTopic(topic)).toBe(true);
  });
  test.each(["", ".", "a.", ".a", "a..b", "a b", "a.*", "ä", "x".repeat(256)])("may not be %j", (topic) => {
    expect(isTopic(topic)).toBe(false);
  });
});

describe("a pattern", () => {
  test.each([
    ["a.b", "a.b", true],
    ["a.b", "a.b.c", false],
    ["a.b", "axb", false],
    ["a.*", "a.b", true],
    ["a.*", "a", false],
    ["a.*", "a.b.c", false],
    ["*.b", "a.b", true],
    ["a.**", "a.b", true],
    ["a.**", "a.b.c.d", true],
    ["a.**", "a", false],
    ["a.**", "ab.c", false],
    ["*.x.**", "a.x.b.c", true],
    ["**", "anything.at.all", true],
    ["constructor.*", "constructor.x", true],
    ["__proto__", "__proto__", true],
    ["__proto__", "o", false],
  ])("%s with %s: %s", (pattern, topic, expected) => {
    expect(matches(pattern, topic)).toBe(expected);
  });

  test("of several matches what one of them matches", () => {
    const expression = new RegExp(topicExpression(["a.b", "c.*"]) ?? "");
    expect(["a.b", "c.d", "a.d", "xa.b", "c.dx"].map((topic) => expression.test(topic))).toEqual([
      true,
      true,
      false,
      false,
      true,
    ]);
  });

  test.each(["a.*.b", "**", "*", "*.*.**"])("may be %s", (pattern) => {
    expect(isTopicPattern(pattern)).toBe(true);
  });
  test.each(["", "a.**.b", "a*", "a.***", ">", "a.>", "**.**"])("may not be %j", (pattern) => {
    expect(isTopicPattern(pattern)).toBe(false);
  });
});
