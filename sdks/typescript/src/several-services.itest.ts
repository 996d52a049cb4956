import { create } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { writeDescriptorSet } from "@hms/descriptors";
import { tempFolder } from "@hms/testkit";
import { afterAll, expect, test } from "vitest";
import { Client, serve } from "./index.ts";

const STRING = 9;
const get = { name: "Get", inputType: ".demo.two.v1.Text", outputType: ".demo.two.v1.Text" };
const contract = writeDescriptorSet(
  create(FileDescriptorSetSchema, {
    file: [
      {
        name: "two.proto",
        package: "demo.two.v1",
        syntax: "proto3",
        messageType: [{ name: "Text", field: [{ name: "text", jsonName: "text", number: 1, label: 1, type: STRING }] }],
        service: ["OneService", "OtherService"].map((name) => ({ name, method: [get] })),
      },
    ] as never,
  }),
);
const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());

test("services of one contract whose methods are called the same are told apart by their names", async () => {
  const listen = `unix:${stack.use(tempFolder()).path}/s.sock`;
  const options = { serviceId: "demo.two", contract, listen, register: false };
  const answer = (text: string) => () => ({ text });
  const methods = { "OneService/Get": answer("one"), "OtherService/Get": answer("other") };
  stack.use(await serve({ ...options, methods }));
  const client = stack.use(new Client("demo.two", { address: listen, contract }));
  expect(await client.call("OneService/Get")).toEqual({ text: "one" });
  expect(await client.call("OtherService/Get")).toEqual({ text: "other" });
});

test("a service without a handler for one of them is refused, by the method's name", async () => {
  const methods = { "OneService/Get": () => ({}), "OtherService/Gt": () => ({}) };
  const options = { serviceId: "demo.two", contract, register: false };
  await expect(serve({ ...options, methods })).rejects.toThrow(
    /method Get has no handler.*OtherService\/Gt is no method/,
  );
});
