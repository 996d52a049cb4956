import { create } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { commentsOf } from "./index.ts";

test("a comment's lines end by line feeds only, and it has no control characters, whatever its author wrote", () => {
  const leadingComments = " nice\rimport os\u2028x\u0085y\u000bz\u0007\r\n end\n";
  const file = create(FileDescriptorProtoSchema, {
    name: "a.proto",
    package: "acme.v1",
    syntax: "proto3",
    enumType: [{ name: "Kind", value: [{ name: "KIND_UNSPECIFIED", number: 0 }] }],
    sourceCodeInfo: { location: [{ path: [5, 0], span: [0, 0, 0], leadingComments }] },
  });
  const [comment] = commentsOf(file).values();
  expect(comment).toBe("nice\nimport os\nx\ny\nz\nend");
});
