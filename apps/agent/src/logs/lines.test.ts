import { agent } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { LineSplitter, LONGEST_PIECE } from "./line-splitter.ts";
import { decodeRecord, encodeRecords } from "./log-record.ts";

const { STDOUT, STDERR, SYSTEM } = agent.LogStream;

describe("splitting output into lines", () => {
  const split = (...chunks: string[]) => {
    const splitter = new LineSplitter();
    const pieces = [...chunks.flatMap((chunk) => splitter.push(Buffer.from(chunk))), ...splitter.flush()];
    return pieces.map(({ text, continues }) => (continues ? `${text}…` : String(text)));
  };

  test("gives the same lines however the bytes arrive", () => {
    const text = "one\ntwo\r\n\nfour";
    const expected = ["one", "two", "", "four"];
    for (let at = 0; at <= text.length; at++) expect(split(text.slice(0, at), text.slice(at))).toEqual(expected);
    expect(split(...text)).toEqual(expected);
  });

  test("cuts a line that is too long and says that it goes on", () => {
    const long = "x".repeat(LONGEST_PIECE);
    expect(split(`${long}yz\n`)).toEqual([`${long}…`, "yz"]);
    expect(split(`${long}\n`)).toEqual([long]);
    expect(split(long, "\nnext\n")).toEqual([`${long}…`, "", "next"]);
    expect(split(long.slice(1), "abc", "\n")).toEqual([`${long.slice(1)}a…`, "bc"]);
  });

  test("does not keep the memory that a chunk came in", () => {
    const splitter = new LineSplitter();
    const chunk = Buffer.from("kept");
    splitter.push(chunk);
    chunk.fill("!");
    expect(String(splitter.flush()[0]?.text)).toBe("kept");
  });
});

describe("a stored record", () => {
  test("comes back as it was, bytes and all", () => {
    const records = [
      { timeMs: 1_732_134_000_123, stream: STDOUT, text: Buffer.from([0xff, 0x00, 0x20]), continues: true },
      { timeMs: 0, stream: STDERR, text: Buffer.from(""), continues: false },
      { timeMs: 1_732_134_000_124, stream: SYSTEM, text: Buffer.from("started"), continues: false },
    ];
    const { data, lines, bytes, release } = encodeRecords(records);
    const parts: Buffer[] = [];
    for (let from = 0, end = data.indexOf(10); end >= 0; from = end + 1, end = data.indexOf(10, from)) {
      parts.push(data.subarray(from, end));
    }
    expect(parts.map((part) => decodeRecord(part))).toEqual(records);
    expect([lines, bytes]).toEqual([3, 10]);
    release();
  });

  test("that is none is told apart", () => {
    for (const text of ["", "garbage", "1732134000123", "1732134000123 x text", "17321340001x3 o text"]) {
      expect(decodeRecord(Buffer.from(text))).toBeUndefined();
    }
  });
});
