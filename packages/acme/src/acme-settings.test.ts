import { expect, test } from "vitest";
import { problemOf, remedyFor } from "./acme-problem.ts";
import { type AcmeSettings, acmeSettingsText, DEFAULT_DIRECTORY, parseAcmeSettings } from "./acme-settings.ts";

const refusal = (settings: object) => {
  try {
    parseAcmeSettings(JSON.stringify(settings), "acme.json");
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};

test("settings are read as they are written, with Let's Encrypt where no directory is named", () => {
  const settings: AcmeSettings = {
    names: ["shop.example", "www.shop.example"],
    directory: "https://ca.internal:9000/acme/acme/directory",
    caFile: "/etc/ca.pem",
    mail: "ops@shop.example",
    terms: "https://ca.internal/terms",
    askedAt: "2026-01-01T00:00:00.000Z",
  };
  expect(parseAcmeSettings(acmeSettingsText(settings), "acme.json")).toEqual(settings);
  const short = parseAcmeSettings('{"names": ["a.example"]}', "acme.json");
  expect(short).toMatchObject({ directory: DEFAULT_DIRECTORY, caFile: undefined, mail: undefined, terms: "" });
});

test("every problem of the settings is said, wildcards, addresses and names of this machine among them", () => {
  const names = ["*.shop.example", "10.0.0.1", "a..b", "x.localhost", "svc.mesh", "UPPER.example", "-a.example", "a/b"];
  const said = refusal({ names, directory: "http://ca.internal/", mail: "nobody", name: "x" });
  expect(said.match(/names\[\d\]/g)).toHaveLength(names.length);
  expect(said).toMatch(/directory.* is no https address/);
  expect(said).toMatch(/mail.* is no mail address/);
  expect(said).toMatch(/did you mean names/);
  expect(refusal({ names: [] })).toContain("is empty");
  expect(refusal({ names: Array.from({ length: 101 }, (_, n) => `n${n}.example`) })).toContain("at most 100");
});

test("what an authority says reaches people in one line, with its reasons for each name, and what to do", () => {
  const problem = problemOf({
    type: "urn:ietf:params:acme:error:compound",
    detail: "Errors during\u001b[31m validation\n",
    subproblems: [
      { type: "urn:ietf:params:acme:error:caa", detail: "CAA forbids it", identifier: { value: "a.example" } },
    ],
  });
  expect(problem.kind).toBe("compound");
  expect(problem.message).toBe("Errors during [31m validation; a.example: CAA forbids it");
  expect(problemOf({ type: "urn:ietf:params:acme:error:dns" }).message).toBe("urn:ietf:params:acme:error:dns");
  for (const kind of ["caa", "dns", "rateLimited", "nothing that is known"]) expect(remedyFor(kind)).toMatch(/\.$/);
});
