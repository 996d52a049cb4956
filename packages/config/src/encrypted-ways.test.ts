import { expect, test } from "vitest";
import { assertEncryptedWays, hostEnvironment } from "./index.ts";

const refused = (env: NodeJS.ProcessEnv) => {
  try {
    assertEncryptedWays(hostEnvironment(env));
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};

test.each([
  ["DATABASE_URL", "postgres://u:p@db.example.org/hms"],
  ["DATABASE_URL", "postgres://u:p@db.example.org/hms?sslmode=prefer"],
  ["DATABASE_URL", "postgres://u:p@10.0.0.9/hms?sslmode=disable"],
  ["DATABASE_URL", "postgresql://u:p@localhost.example.org/hms"],
  ["HMS_REDIS_URL", "redis://cache.example.org:6379"],
  ["HMS_AUDIT_SINK", "http://[2001:db8::1]/sink"],
  ["OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"],
])(
  "%s=%s leads to another machine without encryption and is refused, unless that is allowed by name",
  (name, value) => {
    expect(refused({ [name]: value })).toContain(`${name} leads to another machine without TLS`);
    expect(refused({ [name]: value })).not.toContain("u:p");
    expect(refused({ [name]: value, HMS_ALLOW_PLAINTEXT: name })).toBe("");
  },
);

test.each([
  ["DATABASE_URL", "postgres://u:p@db.example.org/hms?sslmode=verify-full"],
  ["DATABASE_URL", "postgres://u:p@db.example.org/hms?ssl=true"],
  ["DATABASE_URL", "postgres://u:p@127.0.0.1:5433/hms"],
  ["DATABASE_URL", "postgres://u:p@localhost/hms"],
  ["DATABASE_URL", "postgres:///hms?host=/var/run/postgresql&user=u"],
  ["DATABASE_URL", "postgres://u:p@%2Fvar%2Frun%2Fpostgresql/hms"],
  ["HMS_REDIS_URL", "rediss://cache.example.org"],
  ["HMS_REDIS_URL", "redis://[::1]:6379"],
  ["HMS_AUDIT_SINK", "https://sink.example.org/"],
  ["OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"],
  ["OTEL_EXPORTER_OTLP_ENDPOINT", "not an address"],
])("%s=%s is encrypted, or stays on this machine", (name, value) => {
  expect(refused({ [name]: value })).toBe("");
});

test("every way is named at once, and so is what cannot be allowed", () => {
  const said = refused({
    DATABASE_URL: "postgres://u:p@db/hms",
    HMS_REDIS_URL: "redis://cache",
    HMS_ALLOW_PLAINTEXT: "EVERYTHING",
  });
  for (const part of ["DATABASE_URL leads", "HMS_REDIS_URL leads", '"EVERYTHING"']) expect(said).toContain(part);
});
