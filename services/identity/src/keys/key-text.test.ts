import { expect, test } from "vitest";
import { keyIdOf, newKeyText } from "./key-text.ts";

test("a key's text names the installation and itself, and differs each time", () => {
  const { keyId, text } = newKeyText("home");
  expect(text).toMatch(/^hms_home_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}_[0-9a-f]{8}$/);
  expect(keyIdOf(text)).toBe(keyId);
  expect(newKeyText("home").text).not.toBe(text);
});

test("a key with any letter changed is known as a typing error without asking anybody", () => {
  const { text } = newKeyText("home");
  for (let at = 0; at < text.length; at += 1) {
    const other = text[at] === "a" ? "b" : "a";
    expect(keyIdOf(text.slice(0, at) + other + text.slice(at + 1)), String(at)).toBeUndefined();
    expect(keyIdOf(text.slice(0, at))).toBeUndefined();
  }
});
