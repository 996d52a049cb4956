import { describe, expect, it } from "vitest";
import type { ResponseHead } from "./response-head.ts";
import { ResponseParser } from "./response-parser.ts";

interface Seen {
  interim: string[];
  status: string;
  lines: string;
  body: string;
  ends: number;
  /** What `execute` gave back last. */
  result: number | string;
  keepAlive: boolean;
  timeoutMs: number;
}

/** Parses pieces one after the other, each in the middle of other bytes, as it stands in the shared read buffer. */
function parse(pieces: readonly string[], { method = "GET", closes = false, maxHeadBytes = 4096 } = {}): Seen {
  const seen: Seen = {
    interim: [],
    status: "",
    lines: "",
    body: "",
    ends: 0,
    result: 0,
    keepAlive: false,
    timeoutMs: -1,
  };
  const parser = new ResponseParser(
    {
      onInformational: (head: ResponseHead) => seen.interim.push(head.statusText),
      onResponseHead(head: ResponseHead) {
        seen.status = head.statusText;
        seen.lines = head.lines;
        seen.keepAlive = head.keepAlive;
        seen.timeoutMs = head.keepAliveTimeoutMs;
      },
      onResponseBody: (bytes, start, end) => {
        seen.body += bytes.toString("latin1", start, end);
      },
      onResponseEnd: () => {
        seen.ends++;
      },
    },
    maxHeadBytes,
  );
  parser.expect(method);
  for (const piece of pieces) {
    const bytes = Buffer.from(`\r\n\r\nX${piece}\r\n\r\n0\r\n`, "latin1");
    seen.result = parser.execute(bytes, 5, 5 + piece.length);
    if (typeof seen.result === "string") return seen;
  }
  if (closes) parser.finish();
  return seen;
}

/** The ways to split a text: whole, at every position, and into single characters. */
function splits(text: string): string[][] {
  const ways = [[text], [...text]];
  for (let i = 1; i < text.length; i++) ways.push([text.slice(0, i), text.slice(i)]);
  return ways;
}

const GOOD: [name: string, text: string, expected: Partial<Seen>, options?: { method?: string; closes?: boolean }][] = [
  [
    "a body of known length",
    "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\nConnection: keep-alive\r\nKeep-Alive: timeout=7, max=9\r\n\r\nhello",
    {
      status: "200 OK",
      lines: "Server: x\r\nContent-Length: 5\r\n",
      body: "hello",
      ends: 1,
      keepAlive: true,
      timeoutMs: 7000,
    },
  ],
  [
    "chunks with extensions and trailers",
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n5;a="b"\r\nhello\r\n0A\r\n, world!!!\r\n0\r\nA: b\r\nC: d\r\n\r\n',
    { body: "hello, world!!!", lines: "", ends: 1, keepAlive: true },
  ],
  ["an empty chunked body", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", { body: "", ends: 1 }],
  [
    "a body that ends with the connection",
    "HTTP/1.0 200 Fine\r\nA: b\r\n\r\nall",
    { status: "200 Fine", body: "all", ends: 1, keepAlive: false },
    { closes: true },
  ],
  [
    "HTTP/1.0 with keep-alive",
    "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx",
    { keepAlive: true, ends: 1 },
  ],
  ["a status without a reason", "HTTP/1.1 204\r\n\r\n", { status: "204", ends: 1 }],
  [
    "an answer to HEAD",
    "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
    { lines: "Content-Length: 99\r\n", body: "", ends: 1 },
    { method: "HEAD" },
  ],
  ["304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", { body: "", ends: 1 }],
  [
    "interim responses before the final one",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    { interim: ["100 Continue", "103 Early Hints"], status: "200 OK", body: "ok", ends: 1 },
  ],
  [
    "two framings, of which the chunks count",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    { lines: "A: b\r\n", body: "ok", ends: 1, keepAlive: false },
  ],
  [
    "fields that Connection names",
    "HTTP/1.1 200 OK\r\nX-Hop: 1\r\nConnection: close, X-Hop\r\nX-Stay: 2\r\nProxy-Authenticate: n\r\nContent-Length: 0\r\n\r\n",
    { lines: "X-Stay: 2\r\nContent-Length: 0\r\n", ends: 1, keepAlive: false },
  ],
  [
    "the same length twice",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nok",
    { lines: "Content-Length: 2\r\n", body: "ok", ends: 1 },
  ],
  [
    "bytes above ASCII in values",
    "HTTP/1.1 200 \u00dc\r\nA: \u00e9\r\nContent-Length: 1\r\n\r\n\u00ff",
    { lines: "A: \u00e9\r\nContent-Length: 1\r\n", body: "\u00ff", ends: 1 },
  ],
];

const BAD_HEADS: [name: string, text: string][] = [
  ["another protocol", "ICY 200 OK\r\n\r\n"],
  ["HTTP/2", "HTTP/2.0 200 OK\r\n\r\n"],
  ["HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n"],
  ["no status", "HTTP/1.1 OK\r\n\r\n"],
  ["a short status", "HTTP/1.1 20\r\n\r\n"],
  ["a long status", "HTTP/1.1 2000 OK\r\n\r\n"],
  ["status 099", "HTTP/1.1 099 OK\r\n\r\n"],
  ["two spaces before the status", "HTTP/1.1  200 OK\r\n\r\n"],
  ["a bare line feed", "HTTP/1.1 200 OK\nA: b\r\n\r\n"],
  ["a bare line feed in a field", "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n"],
  ["a bare carriage return", "HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n"],
  ["a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"],
  ["a space before the colon", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n"],
  ["a field without a name", "HTTP/1.1 200 OK\r\n: b\r\n\r\n"],
  ["a line without a colon", "HTTP/1.1 200 OK\r\nhello\r\n\r\n"],
  ["a zero byte", "HTTP/1.1 200 OK\r\nA: b\u0000\r\n\r\n"],
  ["different lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok"],
  ["a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"],
  ["a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"],
  ["a length with a plus", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx"],
  ["a huge length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx"],
  ["an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
  ["chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
];

const CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const BAD_CHUNKS: [name: string, text: string][] = [
  ["no size", "\r\nhello\r\n0\r\n\r\n"],
  ["a size that is no number", "g\r\nhello\r\n0\r\n\r\n"],
  ["a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"],
  ["a negative size", "-5\r\nhello\r\n0\r\n\r\n"],
  ["a size beyond every file", "fffffffffffffff\r\nhello"],
  ["a bare line feed after the size", "5\nhello\r\n0\r\n\r\n"],
  ["data longer than its size", "4\r\nhello\r\n0\r\n\r\n"],
  ["a bare line feed after the data", "5\r\nhello\n0\r\n\r\n"],
  ["a line feed in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"],
];

describe("ResponseParser", () => {
  for (const [name, text, expected, options] of GOOD) {
    it(`reads ${name}, split anywhere`, () => {
      for (const pieces of splits(text)) expect(parse(pieces, options)).toMatchObject(expected);
    });
  }

  for (const [name, text] of BAD_HEADS) {
    it(`refuses a head with ${name}, split anywhere`, () => {
      for (const pieces of splits(text)) {
        const seen = parse(pieces);
        expect(seen.result).toBe("malformed response head");
        expect(seen.status).toBe("");
      }
    });
  }

  for (const [name, text] of BAD_CHUNKS) {
    it(`refuses chunks with ${name}, split anywhere`, () => {
      for (const pieces of splits(CHUNKED + text)) {
        const seen = parse(pieces);
        expect(seen.result).toBe("malformed chunked body");
        expect(seen.ends).toBe(0);
      }
    });
  }

  it("stops at the end of the response, so that surplus bytes are noticed", () => {
    const text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK";
    expect(parse([text])).toMatchObject({ body: "ok", ends: 1, result: 5 + text.indexOf("okHTTP") + 2 });
  });

  it("gives up on heads and chunk lines that do not end", () => {
    const endless = `HTTP/1.1 200 OK\r\n${"A: b\r\n".repeat(2000)}`;
    expect(parse([endless]).result).toBe("response head too large");
    expect(parse([...endless]).result).toBe("response head too large");
    expect(parse([`${CHUNKED}5;${"x".repeat(20_000)}`]).result).toBe("malformed chunked body");
    expect(parse([`${CHUNKED}0\r\n${"A: b\r\n".repeat(10_000)}`]).result).toBe("malformed chunked body");
  });

  it("tells a response that was cut from one that has ended", () => {
    const parser = (text: string) => {
      const sink = { onInformational() {}, onResponseHead() {}, onResponseBody() {}, onResponseEnd() {} };
      const created = new ResponseParser(sink, 4096);
      created.expect("GET");
      created.execute(Buffer.from(text), 0, text.length);
      return created;
    };
    expect(parser("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel").finish()).toBe(false);
    expect(parser(`${CHUNKED}5\r\nhello\r\n`).finish()).toBe(false);
    expect(parser("HTTP/1.1 200 O").finish()).toBe(false);
    expect(parser("HTTP/1.1 200 OK\r\n\r\nhel").finish()).toBe(true);
    expect(parser("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").finish()).toBe(true);
  });
});
