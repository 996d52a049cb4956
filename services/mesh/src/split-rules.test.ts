import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { expect, test } from "vitest";
import { normalPicture } from "./traffic-picture.ts";

type SplitInit = MessageInitShape<typeof mesh.TrafficSplitSchema>;

function entry(split: SplitInit): mesh.MeshServiceEntry {
  const endpoint = (endpointId: string, revision: bigint) => {
    return { endpointId, host: "127.0.0.1", port: 1, state: mesh.EndpointState.ACTIVE, revision };
  };
  const endpoints = [endpoint("old", 1n), endpoint("new", 2n)];
  return create(mesh.MeshServiceEntrySchema, { environment: "default", name: "a", endpoints, split });
}

/** The fields of a split that cannot be used, with what is wrong. */
function problems(split: SplitInit): string[] {
  try {
    normalPicture(entry(split));
    return [];
  } catch (error) {
    if (!(error instanceof HmsError)) throw error;
    return error.details.fieldViolations?.map(({ field, description }) => `${field} ${description}`) ?? [];
  }
}

const header = (name: string, value = "") => ({ of: { case: "header" as const, value: { name, value } } });
const cookie = (name: string, value = "") => ({ of: { case: "cookie" as const, value: { name, value } } });

test("a split is kept as it is said, and the same one has the same bytes", () => {
  const split: SplitInit = {
    revision: 2n,
    share: 10_000,
    matches: [header("x-hms-revision", "2"), cookie("__Host-Beta", "a b")],
    sticky: { by: { case: "cookie", value: "SID" } },
  };
  expect(normalPicture(entry(split)).split).toEqual(create(mesh.TrafficSplitSchema, split));
  const bytes = () => toBinary(mesh.MeshServiceEntrySchema, normalPicture(entry(split)));
  expect(bytes()).toEqual(bytes());
  expect(normalPicture(entry({ revision: 2n })).split).toMatchObject({ revision: 2n, share: 0, matches: [] });
});

test("one that data planes could not keep to is refused, all its problems at once", () => {
  const said = problems({
    revision: 7n,
    share: 10_001,
    matches: [{}, header("X-Beta"), header("authorization", "Bearer x"), cookie("a;b"), header("x-a", "ä\r\n")],
    sticky: { by: { case: "header", value: "X User" } },
  });
  expect(said).toEqual([
    expect.stringMatching(/^service\.split\.revision no endpoint is of revision 7/),
    expect.stringMatching(/^service\.split\.share is 10001; use 0 to 10000/),
    expect.stringMatching(/^service\.split\.sticky\.header "X User" is no name of a field; write it in lower case/),
    expect.stringMatching(/^service\.split\.matches\[0\] says neither header nor cookie/),
    expect.stringMatching(/^service\.split\.matches\[1\]\.header\.name "X-Beta" .* lower case/),
    expect.stringMatching(/^service\.split\.matches\[2\]\.header\.name authorization says who somebody is/),
    expect.stringMatching(/^service\.split\.matches\[3\]\.cookie\.name "a;b" is no name of a cookie/),
    expect.stringMatching(/^service\.split\.matches\[4\]\.header\.value cannot stand in a field/),
  ]);
});

test.each<[string, SplitInit, RegExp]>([
  ["less than nothing", { revision: 2n, share: -1 }, /share is -1/],
  ["a key that says no", { revision: 2n, sticky: { by: { case: "address", value: false } } }, /sticky says neither/],
  ["a key that says nothing", { revision: 2n, sticky: {} }, /sticky says neither/],
  ["too much", { revision: 2n, matches: Array.from({ length: 17 }, () => header("x-a")) }, /more than 16 matches/],
])("a split of %s is refused", (_, split, problem) => {
  expect(problems(split)).toEqual([expect.stringMatching(problem)]);
});
