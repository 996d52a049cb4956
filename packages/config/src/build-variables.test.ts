import { expect, test } from "vitest";
import { buildVariables } from "./build-variables.ts";

test("a build hears of proxies, registries and certificates, and of nothing else", () => {
  const told = {
    https_proxy: "http://proxy:3128",
    NODE_EXTRA_CA_CERTS: "/etc/ca.pem",
    npm_config_registry: "http://r/",
  };
  const kept = { AWS_SECRET_ACCESS_KEY: "x", npm_config__auth: "x", PATH: "/bin", HOME: "/root", NO_PROXY: "" };
  expect(buildVariables({ ...told, ...kept })).toEqual(told);
});
