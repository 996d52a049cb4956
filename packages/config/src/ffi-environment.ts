/** What SDKs read from the process environment. */
export interface FfiEnvironment {
  /** HMS_FFI_REGISTRY_URL: where the registry answers. */
  registryUrl: string | undefined;
  /** HMS_FFI_SOCKET: the platform's socket, as a path. */
  socket: string | undefined;
  /** HMS_FFI_TOKEN: as whom the program calls. */
  token: string | undefined;
  /** HMS_FFI_CONFIG_PATH: a file with the same settings. */
  configPath: string | undefined;
  /** HMS_FFI_SERVICE_DIR: where services of this program put their sockets. */
  serviceFolder: string | undefined;
  /** HMS_ENVIRONMENT: where calls go and services are registered. */
  environment: string | undefined;
  /** HMS_REPLICA: which replica of a deployed service the program is. */
  replica: string | undefined;
}

/** Reads the environment once; pass another one in tests. */
export function ffiEnvironment(env: NodeJS.ProcessEnv = process.env): FfiEnvironment {
  return {
    registryUrl: env.HMS_FFI_REGISTRY_URL || undefined,
    socket: env.HMS_FFI_SOCKET || undefined,
    token: env.HMS_FFI_TOKEN || undefined,
    configPath: env.HMS_FFI_CONFIG_PATH || undefined,
    serviceFolder: env.HMS_FFI_SERVICE_DIR || undefined,
    environment: env.HMS_ENVIRONMENT || undefined,
    replica: env.HMS_REPLICA || undefined,
  };
}
