import { registry } from "@hms/contracts";
import { implement } from "@hms/kernel";
import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EdgeFixture, edgeFixture, TOKEN } from "./testing/edge-fixture.ts";
import { libraryService } from "./testing/library-contract.ts";

interface Operation {
  operationId: string;
  summary: string;
  parameters?: { name: string; in: string; schema: object; description?: string }[];
  requestBody?: { content: Record<string, { schema: Record<string, unknown> }> };
  responses: Record<string, { content: Record<string, { schema: object }> }>;
}
interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  tags: { name: string; description: string }[];
  components: { schemas: Record<string, { properties: Record<string, object>; [key: string]: unknown }> };
}

let edge: EdgeFixture;
let document: Document;
beforeAll(async () => {
  edge = await edgeFixture();
  edge.kernel.register(implement(libraryService("RivalService"), { steal: () => ({}) } as never));
  document = (await (await edge.fetch("/openapi.json")).json()) as Document;
});
afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
});

const operation = (method: string, path: string) => document.paths[path]?.[method] as Operation;
const names = (method: string, path: string) => operation(method, path).parameters?.map(({ name }) => name);

describe("the OpenAPI document", () => {
  test("is valid OpenAPI 3.1, by a validator that others wrote", async () => {
    const result = await new Validator().validate(document as object as Record<string, unknown>);
    expect(result).toMatchObject({ valid: true });
    expect(document.openapi).toMatch(/^3\.1\./);
  });

  test("has the routes that contracts state, their parameters and bodies", () => {
    expect(names("get", "/v1/shelves/{shelf}/books/{book}")).toEqual(["shelf", "book", "readMask"]);
    expect(names("post", "/v1/shelves/{shelf}/books")).toEqual(["shelf", "bookId", "validateOnly"]);
    const { requestBody } = operation("post", "/v1/shelves/{shelf}/books");
    expect(requestBody?.content["application/json"]?.schema).toEqual({
      $ref: "#/components/schemas/hms.library.v1.Book",
    });
    const returned = operation("post", "/v1/shelves/{shelf}/books/{book}:return").requestBody?.content;
    expect(Object.keys(returned?.["application/json"]?.schema.properties as object)).toEqual(["readMask"]);
    expect(names("get", "/v1/archive/{rest}")).toEqual(["rest", "readMask"]);
  });

  test("has every query parameter with its type, messages opened", () => {
    const parameters = operation("get", "/v1/books").parameters ?? [];
    const of = (name: string) => parameters.find((parameter) => parameter.name === name)?.schema;
    expect(of("genres")).toMatchObject({ type: "array", items: { $ref: "#/components/schemas/hms.library.v1.Genre" } });
    expect(of("place.roomName")).toEqual({ type: "string" });
    expect(of("since")).toEqual({ type: "string", format: "date-time" });
    expect(of("serial")).toMatchObject({ type: "string", format: "uint64" });
    expect(of("labels")).toBeUndefined();
  });

  test("has methods without a route at the path that every method has, with GET if they only read", () => {
    expect(Object.keys(document.paths["/v1/hms.library/Count"] ?? {})).toEqual(["post", "get"]);
    expect(Object.keys(document.paths["/v1/hms.library/Everything"] ?? {})).toEqual(["post"]);
  });

  test("tells the media types of streams and raw bodies", () => {
    const watched = operation("get", "/v1/books:watch").responses["200"]?.content ?? {};
    expect(Object.keys(watched)).toEqual(["application/x-ndjson", "text/event-stream", "application/json"]);
    expect(Object.keys(operation("post", "/v1/upload").requestBody?.content ?? {})).toEqual(["*/*"]);
    const imported = operation("post", "/v1/books:import").requestBody?.content ?? {};
    expect(Object.keys(imported)).toEqual(["application/x-ndjson", "application/json"]);
  });

  test("takes descriptions from comments, and keywords from protovalidate", () => {
    expect(document.tags[0]).toEqual({ name: "hms.library.v1.LibraryService", description: "Shelves and books." });
    expect(operation("get", "/v1/shelves/{shelf}/books/{book}").summary).toBe("Finds a shelf or a book by its name");
    const { schemas } = document.components;
    expect(schemas["hms.library.v1.Book"]?.properties.title).toEqual({ type: "string", minLength: 1, maxLength: 200 });
    expect(schemas["hms.library.v1.SearchBooksResponse"]?.properties.asked).toMatchObject({
      description: "What was asked, as it was understood.",
    });
    expect(schemas["hms.library.v1.Genre"]).toMatchObject({ description: "- GENRE_FICTION: Made up." });
  });

  test("has the comments of the product's own contracts", async () => {
    await using own = await edgeFixture();
    const unused = Object.fromEntries(registry.RegistryService.methods.map(({ localName }) => [localName, () => ({})]));
    own.kernel.register(implement(registry.RegistryService, unused as never));
    const one = (await (await own.fetch("/openapi/hms.ffi.json")).json()) as Document;
    expect(await new Validator().validate(one as object as Record<string, unknown>)).toMatchObject({ valid: true });
    expect(one.paths["/v1/hms.ffi/Lookup"]?.post?.summary).toMatch(/^Finds the available instances/);
    expect(one.components.schemas["hms.ffi.v1.ServiceInstance"]?.properties.instanceId).toMatchObject({
      description: "Unique within the service.",
    });
  });

  test("tells routes that contradict each other and methods that OpenAPI has no place for", () => {
    expect(document).toMatchObject({
      "x-hms-other-methods": ["REPORT /v1/books"],
      "x-hms-conflicts": expect.arrayContaining([expect.objectContaining({ route: "GET /v1/books/{name}" })]),
    });
  });

  test("is there for one service by id or name, and says which one may be meant", async () => {
    for (const name of ["hms.library", "hms.library.v1.RivalService"]) {
      const one = (await (await edge.fetch(`/openapi/${name}.json`)).json()) as Document;
      expect(await new Validator().validate(one as object as Record<string, unknown>)).toMatchObject({ valid: true });
      expect(one.tags).toHaveLength(name === "hms.library" ? 2 : 1);
    }
    const unknown = await edge.fetch("/openapi/hms.libary.json");
    expect([unknown.status, await unknown.text()]).toEqual([404, expect.stringContaining("hms.library")]);
  });

  test("need not be sent again, and follows the contracts", async () => {
    await using own = await edgeFixture();
    const first = await own.fetch("/openapi.json");
    const headers = { "if-none-match": first.headers.get("etag") as string };
    expect((await own.fetch("/openapi.json", { headers })).status).toBe(304);
    own.kernel.register(implement(libraryService("RivalService"), { steal: () => ({}) } as never));
    await expect.poll(async () => (await own.fetch("/openapi.json", { headers })).status).toBe(200);
  });
});

describe("the reference page", () => {
  test("is served from here alone, under a strict policy", async () => {
    expect((await edge.fetch("/docs", { redirect: "manual" })).headers.get("location")).toBe("/docs/");
    const page = await edge.fetch("/docs/");
    const text = await page.text();
    expect(page.headers.get("content-security-policy")).toMatch(/default-src 'none'; script-src 'self';/);
    expect(text).not.toMatch(/https?:|<script>/);
    const files = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1]);
    expect(files).toEqual(["viewer.css", "viewer.js", "start.js"]);
    for (const file of [...files, "openapi.json"]) expect((await edge.fetch(`/docs/${file}`)).status).toBe(200);
    expect((await edge.fetch("/docs/../package.json")).status).toBe(404);
    expect((await edge.fetch("/docs/package.json")).status).toBe(404);
  });

  test("asks a browser for a token as password", async () => {
    for (const path of ["/docs", "/docs/", "/openapi.json", "/docs/viewer.js"]) {
      const refused = await edge.fetch(path, { headers: { authorization: null } });
      expect([refused.status, refused.headers.get("www-authenticate")]).toEqual([401, 'Basic realm="hms-sys"']);
    }
    const authorization = `Basic ${Buffer.from(`:${TOKEN}`).toString("base64")}`;
    const headers = { authorization, "sec-fetch-site": "none" };
    expect((await edge.fetch("/docs/", { headers })).status).toBe(200);
  });
});
