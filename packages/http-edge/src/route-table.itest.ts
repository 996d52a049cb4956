import { create, createFileRegistry, type DescService, fromBinary, setExtension } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema, MethodOptionsSchema } from "@bufbuild/protobuf/wkt";
import { httpAnnotations, httpRules, mesh } from "@hms/contracts";
import { expect, test } from "vitest";
import { methodName, RouteTable } from "./route-table.ts";
import { libraryDescriptorSet } from "./testing/library-contract.ts";

/** The rival's contract, whose method states these routes. */
function rivalStating(...paths: string[]): DescService {
  const set = fromBinary(FileDescriptorSetSchema, libraryDescriptorSet);
  const [first = "", ...others] = paths;
  const rule = (path: string) =>
    create(httpRules.HttpRuleSchema, { pattern: { case: "post", value: path }, body: "*" });
  const options = create(MethodOptionsSchema);
  setExtension(options, httpAnnotations.http, { ...rule(first), additionalBindings: others.map(rule) });
  for (const method of rivalOf(set)?.method ?? []) method.options = options;
  return createFileRegistry(set).getService("hms.library.v1.RivalService") as DescService;
}

const rivalOf = ({ file }: FileDescriptorSet) =>
  file.flatMap(({ service }) => service).find(({ name }) => name === "RivalService");

test("no contract can state a path that every method of another service has", () => {
  const own = "/v1/hms.sys.mesh/SetService";
  const rival = rivalStating(
    own,
    "/v1/hms.sys%2Emesh/SetService",
    "/v1/hms.sys.mesh.v1.MeshService/SetService",
    "/v1/x",
  );
  const table = new RouteTable([mesh.MeshService, rival]);
  for (const path of [own, "/v1/hms.sys%2Emesh/SetService", "/v1/hms.sys.mesh.v1.MeshService/SetService"]) {
    const match = table.tree.match(path, "POST");
    expect([path, match.kind === "found" && methodName(match.target.method)]).toEqual([
      path,
      "hms.sys.mesh.v1.MeshService/SetService",
    ]);
  }
  expect(table.conflicts.map(({ servedBy }) => servedBy)).toEqual(
    Array(3).fill("hms.sys.mesh.v1.MeshService/SetService"),
  );
  expect(table.tree.match("/v1/x", "POST")).toMatchObject({ kind: "found" });
});
