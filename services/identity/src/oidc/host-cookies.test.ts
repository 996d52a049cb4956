import { expect, test } from "vitest";
import { asHostCookie, forgetOldest, forLibraryAt } from "./host-cookies.ts";

const [A, B] = ["a".repeat(21), "b".repeat(43)];

test("a cookie of one path becomes one of this host, named by the path; all others stay as they are", () => {
  const rest = "; expires=Thu, 01 Jan 1970 00:00:00 GMT; samesite=lax; httponly";
  expect(asHostCookie(`hms_oidc_resume=v; path=/oidc/auth/${A}${rest}`)).toBe(
    `__Host-hms_oidc_resume.${A}=v; path=/${rest}`,
  );
  expect(asHostCookie(`hms_oidc_interaction.sig=s; path=/sign-in/${B}${rest}`)).toBe(
    `__Host-hms_oidc_interaction.${B}.sig=s; path=/${rest}`,
  );
  for (const other of [`__Host-hms_oidc=v; path=/${rest}`, "x=y", `hms_oidc_resume=v; path=/${rest}`]) {
    expect(asHostCookie(other)).toBe(other);
  }
});

test("the library sees the cookies of its path under its own names, and none of another path or planted by that name", () => {
  const header = [
    "__Host-hms_session=s",
    `__Host-hms_oidc_interaction.${A}=1`,
    `__Host-hms_oidc_interaction.${A}.sig=2`,
    `__Host-hms_oidc_interaction.${B}=3`,
    "hms_oidc_interaction=planted",
    "hms_oidc_interaction.sig=planted",
  ].join("; ");
  expect(forLibraryAt(`/${A}`, header)).toBe(
    "__Host-hms_session=s; hms_oidc_interaction=1; hms_oidc_interaction.sig=2",
  );
  expect(forLibraryAt(`/auth/${B}`, header)).toBe("__Host-hms_session=s; hms_oidc_interaction=3");
  expect(forLibraryAt("/token", header)).toBe("__Host-hms_session=s");
});

test("a browser with many sign-ins on their way forgets the oldest", () => {
  const uid = (n: number) => String(n).padStart(21, "x");
  const header = Array.from({ length: 18 }, (_, n) => `__Host-hms_oidc_resume.${uid(n)}=v`).join("; ");
  expect(forgetOldest(header).map((cookie) => cookie.split("=")[0])).toEqual([
    `__Host-hms_oidc_resume.${uid(0)}`,
    `__Host-hms_oidc_resume.${uid(1)}`,
  ]);
  expect(forgetOldest("__Host-hms_session=x")).toEqual([]);
});
