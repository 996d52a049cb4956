import { describe, expect, it } from "vitest";
import { formatAmount, formatShare, guessAmount, parseAmount, parseShare } from "./amount.ts";

describe("durations", () => {
  it.each([
    ["0s", 0],
    ["500ms", 500],
    ["1.5s", 1500],
    ["0.25h", 900_000],
    ["90m", 5_400_000],
    ["1h30m", 5_400_000],
    ["1m5ms", 60_005],
    ["1h1m1s1ms", 3_661_001],
  ])("%s is %i ms", (text, ms) => {
    expect(parseAmount("duration", text)).toBe(ms);
  });

  it.each(["", "5", "s", "5 s", "1s1m", "1m1m", "1.5m1s", "-1s", "1e3s", "0.5ms", "1d", "٣s", "1s ", "9999999999s"])(
    "%j is none",
    (text) => {
      expect(parseAmount("duration", text)).toBeUndefined();
    },
  );

  it("are written so that they read back", () => {
    for (const ms of [0, 1, 999, 1000, 1001, 60_000, 90_000, 3_599_999, 3_600_000, 86_400_001]) {
      expect(parseAmount("duration", formatAmount("duration", ms))).toBe(ms);
    }
  });

  it.each([
    ["5", "5s"],
    ["10 sec", "10s"],
    ["2 Minutes", "2m"],
    ["100MS", "100ms"],
    ["2d", "48h"],
    ["soon", undefined],
  ])("%j was most likely meant as %s", (text, guess) => {
    expect(guessAmount("duration", text)).toBe(guess);
  });
});

describe("memory sizes", () => {
  it.each([
    ["1024", 1024],
    ["1Ki", 1024],
    ["256Mi", 268_435_456],
    ["1.5Gi", 1_610_612_736],
    ["500M", 500_000_000],
    ["1k", 1000],
    ["0.001Ki", 2],
  ])("%s is %i bytes", (text, bytes) => {
    expect(parseAmount("memory", text)).toBe(bytes);
  });

  it.each(["", "256m", "256MB", "256 Mi", "-1Mi", "1e3", "Mi", "1KI"])("%j is none", (text) => {
    expect(parseAmount("memory", text)).toBeUndefined();
  });

  it("are written so that they read back", () => {
    for (const bytes of [1, 1023, 1024, 500_000_000, 268_435_456, 2 ** 40]) {
      expect(parseAmount("memory", formatAmount("memory", bytes))).toBe(bytes);
    }
    expect(formatAmount("memory", 268_435_456)).toBe("256Mi");
  });

  it.each([
    ["256m", "256Mi"],
    ["1 GB", "1Gi"],
    ["512", "512Mi"],
    ["much", undefined],
  ])("%j was most likely meant as %s", (text, guess) => {
    expect(guessAmount("memory", text)).toBe(guess);
  });
});

describe("processor time and shares", () => {
  it.each([
    ["0.5", 500],
    ["2", 2000],
    ["250m", 250],
    ["0.001", 1],
  ])("%s cores are %i millicores", (text, millicores) => {
    expect(parseAmount("cpu", text)).toBe(millicores);
    expect(parseAmount("cpu", formatAmount("cpu", millicores))).toBe(millicores);
  });

  it.each(["", "0.0005", "half", "-1", "1 core"])("%j is no number of cores", (text) => {
    expect(parseAmount("cpu", text)).toBeUndefined();
  });

  it("shares are written as they were read", () => {
    expect(["25%", "3"].map((text) => formatShare(parseShare(text)))).toEqual(["25%", "3"]);
  });
});
