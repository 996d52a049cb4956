import { implement } from "@hms/kernel";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EdgeFixture, edgeFixture } from "./testing/edge-fixture.ts";
import { libraryService } from "./testing/library-contract.ts";

let edge: EdgeFixture;
beforeAll(async () => {
  edge = await edgeFixture();
});
afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
});

describe("a path template", () => {
  test("binds several segments to one field", async () => {
    expect(await edge.json("GET", "/v1/shelves/1/books/2")).toMatchObject({
      status: 200,
      body: { name: "shelves/1/books/2" },
    });
  });

  test("decodes everything in a single segment, and all but slashes in several", async () => {
    expect((await edge.json("GET", "/v1/books/a%2Fb%20c%3Ad")).body).toMatchObject({ name: "a/b c:d" });
    const { body } = await edge.json("GET", "/v1/shelves/a%2Fb/books/%C3%A4%2f%20");
    expect(body).toMatchObject({ name: "shelves/a%2Fb/books/ä%2f " });
  });

  test.each([
    ["/v1/archive/a/b/c", "a/b/c"],
    ["/v1/archive/one", "one"],
    ["/v1/%62ooks/x", "x"],
  ])("of any length or spelling is found: %s", async (path, name) => {
    expect((await edge.json("GET", path)).body).toMatchObject({ name });
  });

  test("keeps a custom verb apart from a name with a colon", async () => {
    expect((await edge.json("POST", "/v1/shelves/1/books/2:return", {})).body).toMatchObject({
      name: "shelves/1/books/2",
      title: "back",
    });
    expect((await edge.json("GET", "/v1/shelves/1/books/a:b")).body).toMatchObject({ name: "shelves/1/books/a:b" });
  });

  test("that is not percent-encoded UTF-8 is refused", async () => {
    expect(await edge.json("GET", "/v1/books/%ff")).toMatchObject({
      status: 400,
      body: { error: { status: "INVALID_ARGUMENT" } },
    });
  });
});

describe("a body", () => {
  test("fills one field, the path and the query the others", async () => {
    const { status, body } = await edge.json("POST", "/v1/shelves/7/books?book_id=b1", { title: "Dune", copies: "12" });
    expect({ status, body }).toEqual({
      status: 200,
      body: { name: "shelves/7/books/b1", title: "Dune", copies: "12" },
    });
  });

  test("gives way to a nested field of the path", async () => {
    const path = "/v1/shelves/1/books/2?updateMask=title,printed_at";
    const { body } = await edge.json("PATCH", path, { title: "New", name: "forged" });
    expect(body).toEqual({ name: "shelves/1/books/2", title: "New", authors: ["title", "printed_at"] });
    const whole = await edge.json("PUT", "/v1/shelves/1/books/2", { book: { title: "New" }, updateMask: "title" });
    expect(whole.body).toEqual({ name: "shelves/1/books/2", title: "New", authors: ["title"] });
  });

  test("can be asked for by a method of the contract's own", async () => {
    expect((await edge.json("REPORT", "/v1/books", { query: "x" })).body).toMatchObject({ titles: ["one", "two"] });
  });

  test("reports all its problems together, each with its field", async () => {
    const { status, body } = await edge.json("POST", "/v1/shelves/7/books", {
      titel: "Dune",
      genre: "GENRE_POETRY",
      place: { floor: "high", room_name: 7 },
    });
    const { error } = body as { error: { message: string; details: { fieldViolations?: object[] }[] } };
    expect(status).toBe(400);
    expect(error.message).toContain("and 3 more");
    expect(error.details.find((detail) => "fieldViolations" in detail)?.fieldViolations).toMatchObject([
      { field: "book.titel", description: expect.stringContaining('Did you mean "title"?') },
      { field: "book.genre" },
      { field: "book.place.floor" },
      { field: "book.place.room_name" },
    ]);
  });
});

test("fields of every kind come back as they were sent", async () => {
  const kinds = {
    fDouble: -0.5,
    fInt32: -1,
    fInt64: "-9223372036854775808",
    fUint64: "18446744073709551615",
    fBytes: "AAH/",
    fGenre: "GENRE_SCIENCE",
    oInt32: 0,
    oString: "",
    rDouble: [1, "NaN", "-Infinity"],
    rBytes: ["", "AA=="],
    mKinds: { "-1": { fString: "ä\u2028\ud83d\ude00" } },
    mBool: { true: "1" },
    timestamp: "9999-12-31T23:59:59.999999999Z",
    duration: "-1.000000001s",
    struct: { a: [null, { b: 1.5 }] },
    value: null,
    list: [1, "2"],
    mask: "fInt32,child.fBool",
    any: { "@type": "type.googleapis.com/hms.library.v1.Book", title: "within" },
    wString: "",
    wInt64: "0",
    cWrapped: "7",
    "other-name": "renamed",
  };
  const path = "/v1/hms.library/Everything";
  expect((await edge.json("POST", path, kinds)).body).toEqual(kinds);
  const original = { f_int32: 3, renamed: "x", m_string: { __proto__: "kept" } };
  expect((await edge.json("POST", path, original)).body).toMatchObject({ fInt32: 3, "other-name": "x" });
  expect((await edge.json("POST", path, { fInt32: 1, f_int32: 1 })).status).toBe(400);
});

describe("query parameters", () => {
  const asked = async (query: string) => {
    const { status, body } = await edge.json("GET", `/v1/books?${query}`);
    return status === 200 ? (body as { asked?: object }).asked : body;
  };

  test.each([
    ["query=a+b%26c", { query: "a b&c" }],
    ["genres=GENRE_FICTION&genres=2", { genres: ["GENRE_FICTION", "GENRE_SCIENCE"] }],
    [
      "place.floor=3&place.room_name=r&place.inside.floor=-1",
      { place: { floor: 3, roomName: "r", inside: { floor: -1 } } },
    ],
    ["since=2026-01-02T03:04:05.5Z&max_age=1.5s", { since: "2026-01-02T03:04:05.500Z", maxAge: "1.500s" }],
    ["readMask=title,place.room_name", { readMask: "title,place.roomName" }],
    ["min_copies=9007199254740993&lent=false", { minCopies: "9007199254740993", lent: false }],
    ["cursor=-_8&serial=18446744073709551615", { cursor: "+/8=", serial: "18446744073709551615" }],
    ["floors=1&floors=2&weight=0.5&exact=true", { floors: [1, 2], weight: 0.5, exact: true }],
    ["isbn=3", { isbn: "3" }],
    ["language=", { language: "" }],
  ])("fill fields of every kind: %s", async (query, expected) => {
    expect(await asked(query)).toEqual(expected);
  });

  test.each([
    ["qery=1", "qery", "Did you mean"],
    ["query=1&query=2", "query", "once only"],
    ["exact=yes", "exact", "cannot be read"],
    ["floors=1&floors=x", "floors", "cannot be read"],
    ["extra.a=1", "extra", "no fields of its own"],
    ["labels=1", "labels", "only be given in a body"],
    ["places.floor=1", "places", "no fields of its own"],
    ["isbn=1&number=2", "", "oneof"],
    ["query=%ff", "query", "percent-encoded"],
    ["serial=-1", "serial", "cannot be read"],
  ])("that do not fit are refused by name: %s", async (query, field, why) => {
    const { error } = (await asked(query)) as { error: { code: number; details: { fieldViolations?: object[] }[] } };
    expect(error.code).toBe(400);
    const violations = error.details.flatMap(({ fieldViolations = [] }) => fieldViolations);
    expect(JSON.stringify(violations)).toContain(why);
    expect(JSON.stringify(violations)).toContain(field);
  });
});

describe("an answer", () => {
  test("is one field where the contract says so, also an empty one", async () => {
    expect((await edge.json("GET", "/v1/titles?query=x")).body).toEqual(["one", "two"]);
    expect((await edge.json("GET", "/v1/titles")).body).toEqual([]);
  });

  test("to HEAD is the head of GET's", async () => {
    const response = await edge.fetch("/v1/books/x", { method: "HEAD" });
    expect(response.status).toBe(200);
    expect(Number(response.headers.get("content-length"))).toBeGreaterThan(10);
    expect(await response.text()).toBe("");
  });

  test("has an entity tag by which it need not be sent again", async () => {
    const first = await edge.fetch("/v1/books/x");
    const etag = first.headers.get("etag") as string;
    const again = await edge.fetch("/v1/books/x", { headers: { "if-none-match": `"other", ${etag}` } });
    expect([again.status, again.headers.get("etag"), await again.text()]).toEqual([304, etag, ""]);
  });
});

describe("a method without a rule", () => {
  test.each(["/v1/hms.library/Count", "/v1/hms.library.v1.LibraryService/Count"])("answers at %s", async (path) => {
    expect(await edge.json("POST", path, { query: "x" })).toMatchObject({
      status: 200,
      body: { count: "9007199254740993" },
    });
    expect((await edge.json("GET", `${path}?query=x`)).status).toBe(200);
  });

  test("takes an absent body as an empty request", async () => {
    expect((await edge.json("POST", "/v1/hms.library/Count")).status).toBe(200);
  });

  test("is not to be had by GET if it changes something", async () => {
    const { status, headers } = await edge.json("GET", "/v1/hms.library/Everything");
    expect([status, headers.get("allow")]).toEqual([405, "POST"]);
  });
});

describe("what is not there or not so", () => {
  test("is 404 for a path nobody has", async () => {
    const { status, body } = await edge.json("GET", "/v1/nothing");
    expect({ status, body }).toMatchObject({ status: 404, body: { error: { code: 404, status: "NOT_FOUND" } } });
    expect((await edge.json("GET", "/v1/books/")).status).toBe(404);
    expect((await edge.json("GET", "/v1/shelves//books/2")).status).toBe(404);
  });

  test("is 405 with the methods of the path", async () => {
    const { status, headers } = await edge.json("DELETE", "/v1/shelves/1/books/2");
    expect([status, headers.get("allow")]).toEqual([405, "GET, HEAD, PATCH, PUT"]);
  });

  test.each([
    ["text/plain", "{}"],
    ["application/x-www-form-urlencoded", "a=1"],
    ["application/json; charset=latin1", "{}"],
    [null, "{}"],
  ])("is 415 for a body of type %s", async (type, body) => {
    const response = await edge.fetch("/v1/hms.library/Count", {
      method: "POST",
      body: Buffer.from(body),
      headers: type === null ? {} : { "content-type": type },
    });
    expect(response.status).toBe(415);
  });

  test("is 415 for a compressed body, saying what is understood", async () => {
    const headers = { "content-type": "application/json", "content-encoding": "gzip" };
    const response = await edge.fetch("/v1/hms.library/Count", { method: "POST", body: "x", headers });
    expect([response.status, response.headers.get("accept-encoding")]).toEqual([415, "identity"]);
  });

  test("is 406 if JSON is not accepted", async () => {
    const response = await edge.fetch("/v1/books/x", { headers: { accept: "text/html, application/json;q=0" } });
    expect(response.status).toBe(406);
    expect((await edge.fetch("/v1/books/x", { headers: { accept: "text/html, */*;q=0.1" } })).status).toBe(200);
  });

  test("is 400 for text that is not JSON, and for a body where there is none", async () => {
    const headers = { "content-type": "application/json" };
    for (const body of ["{", "[]", '"x"', Buffer.from([0x22, 0xff, 0x22])]) {
      expect((await edge.fetch("/v1/hms.library/Count", { method: "POST", body, headers })).status).toBe(400);
    }
    expect((await edge.fetch("/v1/books/x", { method: "REPORT" })).status).toBe(405);
  });
});

describe("routes", () => {
  test("of a service that comes later are there at once; contradictions are told, and the first keeps its route", async () => {
    const told: object[] = [];
    await using own = await edgeFixture({ edge: { onConflicts: (_, conflicts) => told.push(...conflicts) } });
    expect((await own.json("POST", "/v1/hms.library/Steal", {})).status).toBe(404);
    own.kernel.register(implement(libraryService("RivalService"), { steal: () => ({ title: "stolen" }) } as never));
    await expect.poll(() => own.json("POST", "/v1/hms.library/Steal", {})).toMatchObject({ body: { title: "stolen" } });
    expect((await own.json("GET", "/v1/books/x")).body).toMatchObject({ title: "The book x" });
    expect(told).toMatchObject([
      { method: "hms.library.v1.RivalService/Steal", problem: expect.stringContaining("missing") },
      { method: "hms.library.v1.RivalService/Steal", problem: expect.stringContaining("not a template") },
      { route: "GET /v1/books/{name}", servedBy: "hms.library.v1.LibraryService/GetBook" },
    ]);
  });
});
