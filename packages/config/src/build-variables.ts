/** Programs of their own name these two ways, in upper case and in lower case. */
const EITHER_CASE = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NPM_CONFIG_REGISTRY", "NPM_CONFIG_CAFILE"];
const AS_THEY_ARE = [
  "NODE_EXTRA_CA_CERTS",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "CURL_CA_BUNDLE",
  "REQUESTS_CA_BUNDLE",
  "GIT_SSL_CAINFO",
  "PIP_CERT",
  "PIP_INDEX_URL",
  "GOPROXY",
  "GOSUMDB",
];

/** Of an environment what a build needs to reach package registries from this machine: proxies, registries, CAs. */
export function buildVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const names = [...EITHER_CASE.flatMap((name) => [name, name.toLowerCase()]), ...AS_THEY_ARE];
  return Object.fromEntries(names.flatMap((name) => (env[name] ? [[name, env[name]]] : [])));
}
