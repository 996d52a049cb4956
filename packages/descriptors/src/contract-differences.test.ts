import { clone, create } from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { mesh } from "@hms/contracts";
import { expect, test } from "vitest";
import { type ContractDifference, contractDifferences, differenceText } from "./contract-differences.ts";
import { descriptorSetOf, readDescriptorSet, registryOf } from "./descriptor-set.ts";
import { scalarField } from "./testing/random-file.ts";

const before = create(FileDescriptorProtoSchema, {
  name: "patient.proto",
  package: "hms.emr.patient.v1",
  syntax: "proto3",
  messageType: [{ name: "Patient", field: [scalarField("name", 1, Type.STRING), scalarField("born", 2, Type.STRING)] }],
  service: [
    {
      name: "PatientService",
      method: ["GetPatient", "PutPatient"].map((name) => ({
        name,
        inputType: ".hms.emr.patient.v1.Patient",
        outputType: ".hms.emr.patient.v1.Patient",
      })),
    },
  ],
});

function differencesAfter(change: (file: FileDescriptorProto) => void): ContractDifference[] {
  const after = clone(FileDescriptorProtoSchema, before);
  change(after);
  return contractDifferences(registryOf([before]), registryOf([after]));
}

const ofPatient = (file: FileDescriptorProto) => file.messageType[0] ?? expect.unreachable();

test("the same contract has no differences", () => {
  expect(differencesAfter(() => {})).toEqual([]);
});

test("a difference says what changed where, whom it breaks, and what to do instead", () => {
  const [difference] = differencesAfter((file) => {
    Object.assign(ofPatient(file).field[1] ?? {}, { type: Type.INT64 });
  });
  expect(difference).toMatchObject({
    rule: "FIELD_WIRE_JSON_COMPATIBLE_TYPE",
    severity: "error",
    file: "patient.proto",
    subject: "hms.emr.patient.v1.Patient.born",
  });
  expect(differenceText(difference ?? expect.unreachable())).toBe(
    "hms.emr.patient.v1.Patient.born: Its type was string and is now int64. " +
      "Callers of before send what is now read differently. " +
      "Keep it as it is, and add a new field with a new number.",
  );
});

test("new fields, methods and messages break nobody", () => {
  const differences = differencesAfter((file) => {
    ofPatient(file).field.push(scalarField("allergies", 3, Type.STRING));
    file.service[0]?.method.push(...clone(FileDescriptorProtoSchema, before).service[0]!.method.slice(0, 1));
    Object.assign(file.service[0]?.method[2] ?? {}, { name: "NewMethod" });
    file.messageType.push(...create(FileDescriptorProtoSchema, { messageType: [{ name: "New" }] }).messageType);
  });
  expect(differences).toEqual([]);
});

test("a removed method breaks callers, though what is generated from it is all that buf speaks of", () => {
  const differences = differencesAfter((file) => void file.service[0]?.method.pop());
  expect(differences).toMatchObject([
    { rule: "RPC_NO_DELETE", severity: "error", subject: "hms.emr.patient.v1.PatientService/PutPatient" },
  ]);
});

test("what breaks is told first, and needs no warning beside it", () => {
  const differences = differencesAfter((file) => {
    file.options = create(FileDescriptorProtoSchema, { options: { goPackage: "a" } }).options as never;
    ofPatient(file).field.pop();
  });
  expect(differences.map(({ rule, severity }) => [rule, severity])).toEqual([
    ["FIELD_NO_DELETE_UNLESS_NAME_RESERVED", "error"],
    ["FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED", "error"],
    ["FILE_SAME_GO_PACKAGE", "warning"],
  ]);
});

test("another edition of protobuf's own files is no difference", () => {
  const registry = readDescriptorSet(descriptorSetOf([mesh.MeshService.file]));
  const files = [...registry.files].map(({ proto }) => clone(FileDescriptorProtoSchema, proto));
  for (const file of files) if (file.package === "google.protobuf") file.messageType[0]?.field.pop();
  expect(contractDifferences(registry, registryOf(files))).toEqual([]);
});
