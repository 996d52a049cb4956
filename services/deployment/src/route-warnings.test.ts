import { examineManifest } from "@hms/manifest";
import { expect, test } from "vitest";
import { routeWarnings } from "./route-warnings.ts";

const warnings = (routes: string, routesDefaultAuth: "public" | "required" = "public") =>
  routeWarnings(
    examineManifest(`name: shop\nrun: {command: node index.js}\nroutes: [${routes}]\n`, { routesDefaultAuth }),
  );

test("routes that are open because nothing is said are named, with what to write", () => {
  const said = "{path: /c, auth: public}, {path: /d, auth: required}";
  expect(warnings(`{path: /a, methods: [GET]}, {path: /b}, ${said}`)).toEqual([
    "Everybody may call GET /a, /b: these routes do not say auth. Write auth: required, or auth: public if it is meant so.",
  ]);
  expect(warnings("{path: /a}")[0]).toContain("Everybody may call /a: the route does not say auth.");
  expect(warnings(said)).toEqual([]);
  expect(warnings(Array.from({ length: 12 }, (_, index) => `{path: /r${index}}`).join(", "))[0]).toContain(
    " and 2 more:",
  );
});

test("where callers have to be known unless a manifest says otherwise, none is", () => {
  expect(warnings("{path: /a}, {path: /b, auth: public}", "required")).toEqual([]);
});
