/** The database's administrator role. */
export const ADMIN_ROLE = "hms";
/** The database of an embedded server that holds the schemas of all services. */
export const EMBEDDED_DATABASE = "postgres";
/** Part of the socket's file name; nothing listens on a network port. */
export const SOCKET_PORT = 5432;
/** The major version of the embedded server. */
export const POSTGRES_MAJOR = "18";
/** An operator's own settings, beside postgresql.conf; read last, never written by us. */
const LOCAL_SETTINGS = "postgresql.local.conf";

const quoted = (value: string) => `'${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;

/**
 * postgresql.conf for a shared small machine: durable (fsync and synchronous commit on), few processes, little memory.
 * Written anew at each start, so that an upgrade of ours takes effect.
 */
export function serverSettings(socketFolder: string): string {
  const settings: Record<string, string> = {
    listen_addresses: "''",
    // A list: the inner quotes keep a comma in the path from dividing it.
    unix_socket_directories: quoted(`"${socketFolder.replaceAll('"', '""')}"`),
    unix_socket_permissions: "0600",
    port: String(SOCKET_PORT),
    max_connections: "60",
    reserved_connections: "2",
    password_encryption: "scram-sha-256",

    shared_buffers: "32MB",
    huge_pages: "off",
    work_mem: "4MB",
    maintenance_work_mem: "32MB",
    temp_buffers: "2MB",
    // Six helper processes fewer than by default: each costs memory, none helps a database of this size.
    io_method: "sync",
    max_worker_processes: "1",
    max_parallel_workers: "0",
    max_parallel_workers_per_gather: "0",
    max_logical_replication_workers: "0",
    autovacuum_worker_slots: "2",
    autovacuum_max_workers: "2",
    jit: "off",

    fsync: "on",
    synchronous_commit: "on",
    full_page_writes: "on",
    // Not "minimal": a running database can then be backed up with a stock pg_basebackup 18.
    wal_level: "replica",
    max_wal_senders: "2",
    max_replication_slots: "2",
    wal_buffers: "1MB",
    wal_compression: "on",
    min_wal_size: "32MB",
    max_wal_size: "512MB",
    checkpoint_timeout: "15min",

    log_destination: "'stderr'",
    logging_collector: "off",
    log_timezone: "'UTC'",
    log_line_prefix: "'%m [%p] %q%u@%d %a '",
    log_checkpoints: "off",
    log_lock_waits: "on",
    log_min_duration_statement: "'2s'",
    log_parameter_max_length: "0",
    log_parameter_max_length_on_error: "0",
    cluster_name: "'hms'",
    timezone: "'UTC'",
    datestyle: "'iso, mdy'",
    default_text_search_config: "'pg_catalog.english'",
    // A server killed by force leaves clients waiting no longer than this.
    client_connection_check_interval: "'10s'",
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  return [
    "# Written at each start: put your own settings into the file named in the last line.",
    ...lines,
    `include_if_exists = '${LOCAL_SETTINGS}'`,
    "",
  ].join("\n");
}

/** pg_hba.conf: the unix socket only, and a password always. */
export function accessRules(): string {
  return ["# Written at each start.", "local all all scram-sha-256", "local replication all scram-sha-256", ""].join(
    "\n",
  );
}
