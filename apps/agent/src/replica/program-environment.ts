import { agent } from "@hms/contracts";

/** What a program's environment is made of. */
export interface ProgramEnvironment {
  /** The deployer's variables; they win over everything but PORT and the HMS_ names. */
  env: Readonly<Record<string, string>>;
  path: string;
  home: string;
  mesh: agent.MeshAccess | undefined;
  meshTier: agent.MeshTier;
  /** PORT and the HMS_ names. */
  own: Readonly<Record<string, string>>;
}

/** The whole environment of a program: the deployer's, what the platform promises, and nothing of the operator's. */
export function programEnvironment(parts: ProgramEnvironment): Record<string, string> {
  const { env, path, home, own } = parts;
  return { PATH: path, HOME: home, LANG: "C.UTF-8", ...proxyVariables(parts), ...env, ...own };
}

/** Only plain HTTP goes by the mesh's proxy: it has no certificate for anybody's name. */
function proxyVariables({ mesh, meshTier }: ProgramEnvironment): Record<string, string> {
  if (meshTier !== agent.MeshTier.PROXY || !mesh?.proxyUrl) return {};
  const local = "localhost,127.0.0.1,::1";
  return {
    HTTP_PROXY: mesh.proxyUrl,
    http_proxy: mesh.proxyUrl,
    NO_PROXY: local,
    no_proxy: local,
    NODE_USE_ENV_PROXY: "1",
  };
}
