import { describe, expect, it } from "vitest";
import { usableIdleMs } from "./endpoint.ts";
import { environmentOfCredentials, environmentOfHost } from "./request-routing.ts";
import { hasDotSegments, parseRequestTarget, splitAuthority } from "./request-target.ts";
import { continueTrace, isRequestId, randomHex, startTrace } from "./trace-ids.ts";

describe("environmentOfHost", () => {
  it("takes one label before localhost, in any case and with any port", () => {
    expect(environmentOfHost("staging.localhost")).toBe("staging");
    expect(environmentOfHost("QA-2.LocalHost:3000")).toBe("qa-2");
  });

  it("is the default for everything else", () => {
    for (const host of [
      "",
      "localhost",
      "localhost:3000",
      "a.b.localhost",
      ".localhost",
      "x.localhost.evil",
      "127.0.0.1",
    ]) {
      expect(environmentOfHost(host)).toBe("default");
    }
  });
});

describe("environmentOfCredentials", () => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;

  it("is the user name, or the default", () => {
    expect(environmentOfCredentials(basic("staging:"))).toBe("staging");
    expect(environmentOfCredentials(basic("staging:a:b"))).toBe("staging");
    expect(environmentOfCredentials(basic("staging"))).toBe("staging");
    for (const other of ["", basic(":x"), "Bearer abc", "Basic ???"])
      expect(environmentOfCredentials(other)).toBe("default");
  });
});

describe("request targets", () => {
  it("are paths or http addresses", () => {
    expect(parseRequestTarget("/a?b=/c")).toEqual({ authority: null, target: "/a?b=/c", path: "/a" });
    expect(parseRequestTarget("HTTP://h:1/a?b")).toEqual({ authority: "h:1", target: "/a?b", path: "/a" });
    expect(parseRequestTarget("http://h?b")).toEqual({ authority: "h", target: "/?b", path: "/" });
    expect(parseRequestTarget("http://h")).toEqual({ authority: "h", target: "/", path: "/" });
    for (const url of ["https://h/", "http://", "http://u@h/", "h:80", "", "ftp://h/"])
      expect(parseRequestTarget(url)).toBeNull();
  });

  it("climb with dot segments, plain or encoded, and not with dots in names", () => {
    for (const path of ["/..", "/a/../b", "/./a", "/a/%2E%2e/b", "/a/.%2e", "/%2e"])
      expect(hasDotSegments(path)).toBe(true);
    for (const path of ["/", "/a.b", "/..a", "/.well-known/x", "/a/...", "/%2ea"])
      expect(hasDotSegments(path)).toBe(false);
  });

  it("name hosts and ports", () => {
    expect(splitAuthority("Receipt-Svc.mesh:80")).toEqual({ host: "receipt-svc.mesh", port: 80 });
    expect(splitAuthority("[::1]:443")).toEqual({ host: "::1", port: 443 });
    expect(splitAuthority("h")).toEqual({ host: "h", port: null });
    for (const authority of ["", ":80", "h:0", "h:70000", "a b:1", "h:1:2"])
      expect(splitAuthority(authority)).toBeNull();
  });
});

describe("trace and request ids", () => {
  it("are random, of the wanted length, and never repeat", () => {
    const ids = Array.from({ length: 5000 }, () => randomHex(16));
    expect(new Set(ids).size).toBe(5000);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{16}$/);
    expect(startTrace("a".repeat(32))).toMatch(/^00-a{32}-[0-9a-f]{16}-01$/);
  });

  it("continue what W3C allows, of later versions what is known", () => {
    const [trace, span] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
    expect(continueTrace(`cc-${trace}-${span}-01-more`)).toMatch(new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`));
    for (const wrong of [
      `00-${trace}-${span}-01-more`,
      `00-${trace}-${span}`,
      `00-${trace.toUpperCase()}-${span}-01`,
      "",
    ]) {
      expect(continueTrace(wrong)).toBeNull();
    }
  });

  it("of callers are kept if they are short and plain", () => {
    for (const id of ["a", "req-1_2.3:4/5", "x".repeat(128)]) expect(isRequestId(id)).toBe(true);
    for (const id of ["", "a b", 'a"', "x".repeat(129), "a\u0000", "\u00e9"]) expect(isRequestId(id)).toBe(false);
  });
});

describe("usableIdleMs", () => {
  it("stays a second below what the service announces, and is 4 s when it announces nothing", () => {
    expect(usableIdleMs(5000)).toBe(4000);
    expect(usableIdleMs(75_000)).toBe(74_000);
    expect(usableIdleMs(1000)).toBe(500);
    expect(usableIdleMs(0)).toBe(0);
    expect(usableIdleMs(-1)).toBe(4000);
  });
});
