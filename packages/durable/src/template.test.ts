import { describe, expect, test } from "vitest";
import { type ExpressionScope, parseExpression } from "./expression.ts";
import { renderTemplate } from "./template.ts";

const scope: ExpressionScope = {
  inputs: { n: 3, half: 0.5, text: "a}}b", list: [1, 2], none: null },
  run: { id: "r", environment: "test" },
  nodes: { first: { state: "succeeded", output: { ok: true } } },
  target: { host: "web-1" },
};

describe("a text", () => {
  test.each([
    ["${{ inputs.n }}", 3],
    ["${{ inputs.half }}", 0.5],
    ["${{ [inputs.n, 'x', null] }}", [3, "x", null]],
    ["${{ {'a': {'b': inputs.n}} }}", { a: { b: 3 } }],
    ["${{ {'a': {'b': inputs.n}}}}", { a: { b: 3 } }],
    ["${{ 'a}}b' == inputs.text }}", true],
    ["n=${{ inputs.n }}, ${{ nodes.first.output }} on ${{ target.host }}", 'n=3, {"ok":true} on web-1'],
    ["${{ size(inputs.list.filter(i, i > 1)) }}", 1],
    ["$ {{ not one }}", "$ {{ not one }}"],
    ["", ""],
  ])("%s becomes %j", (template, value) => {
    expect(renderTemplate(template, scope)).toEqual(value);
  });

  test("fails with an expression that fails, or gives what JSON does not have", () => {
    expect(() => renderTemplate("${{ inputs.missing }}", scope)).toThrow("missing");
    expect(() => renderTemplate("${{ 9007199254740993 + 1 }}", scope)).toThrow("too large");
    expect(() => renderTemplate("${{ 1.0 / 0.0 }}", scope)).toThrow("not a number of JSON");
    expect(() => renderTemplate("${{ duration('1s') }}", scope)).toThrow("string(");
  });
});

test("an expression names the nodes that it looks at", () => {
  expect(parseExpression("nodes.a.state == 'x' || nodes['b-c'].output.d in [nodes.e.state]").reads).toEqual([
    "a",
    "b-c",
    "e",
  ]);
});
