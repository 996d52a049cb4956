from __future__ import annotations

import os
import tempfile
import unittest

from hms_ffi.settings import ConfigurationWarning, Settings, load_settings
from hms_ffi.small_yaml import ConfigurationError, read_yaml
from hms_ffi.tls import TlsIdentity

SEED = """\
# HMS-FFI configuration
ffi:
  registry:
    url: unix:/run/hms/kernel.sock
    cache_ttl: 300s
    refresh_interval: 1m

  transport:
    default: grpc
    in_process:
      enabled: true
    local_socket:
      enabled: true
      path: "/var/run/hms-ffi/sockets"  # quoted
    grpc:
      enabled: true
      max_concurrent_streams: 50

  security:
    token_validation_endpoint: http://auth:8080/validate
    required_claims:
      - sub
      - role
    permission_policy: strict
"""


def settings_of(text: str, **env: str) -> Settings:
    with tempfile.NamedTemporaryFile("w", suffix=".yml", delete=False) as file:
        file.write(text)
    try:
        return load_settings({"HMS_FFI_CONFIG_PATH": file.name, **env})
    finally:
        os.unlink(file.name)


class ConfigurationFiles(unittest.TestCase):
    def test_name_the_three_files_of_a_certificate(self) -> None:
        tls = "ffi:\n  transport:\n    tls:\n      certificate: /a.pem\n      key: /a.key\n"
        self.assertEqual(
            TlsIdentity("/a.pem", "/a.key", "/ca.pem"), settings_of(tls + "      authority: /ca.pem\n").tls
        )
        with self.assertRaisesRegex(ConfigurationError, "authority is missing"):
            settings_of(tls)

    def test_of_the_documented_form_are_read(self) -> None:
        self.assertEqual(
            Settings(
                socket="/run/hms/kernel.sock",
                service_dir="/var/run/hms-ffi/sockets",
                cache_ttl=300.0,
                refresh_interval=60.0,
                transport="grpc",
                max_concurrent_streams=50,
            ),
            settings_of(SEED),
        )

    def test_give_way_to_the_environment(self) -> None:
        found = settings_of(SEED, HMS_FFI_SOCKET="/other.sock", HMS_FFI_TOKEN="t", HMS_FFI_SERVICE_DIR="/d")
        self.assertEqual(("/other.sock", "t", "/d"), (found.socket, found.token, found.service_dir))

    def test_may_name_the_registry_by_http_and_nothing_else_than_a_host_and_port(self) -> None:
        text = SEED.replace("unix:/run/hms/kernel.sock", "http://registry:8080")
        self.assertEqual("http://registry:8080", settings_of(text).socket)
        self.assertEqual("/k.sock", settings_of(text, HMS_FFI_SOCKET="/k.sock").socket)
        self.assertEqual("http://a:1", load_settings({"HMS_FFI_REGISTRY_URL": "http://a:1/"}).socket)
        for wrong in ("ftp://registry:8080", "http://registry:8080/path", "registry:8080"):
            with self.assertRaisesRegex(ConfigurationError, "unix:/path"):
                load_settings({"HMS_FFI_REGISTRY_URL": wrong})

    def test_say_which_of_their_settings_have_no_effect(self) -> None:
        with self.assertWarns(ConfigurationWarning) as warned:
            settings_of(SEED)
        said = " ".join(str(each.message) for each in warned.warnings)
        for name in ("in_process", "token_validation_endpoint", "required_claims"):
            self.assertIn(name, said)
        self.assertNotIn("transport.default", said)
        for transport in ("in_process", "http"):
            with self.assertWarnsRegex(ConfigurationWarning, r"ffi\.transport\.default has no effect"):
                settings_of(f"ffi:\n  transport:\n    default: {transport}\n")

    def test_say_every_problem_at_once(self) -> None:
        wrong = (
            "ffi:\n  registry:\n    cache_ttl: soon\n    urll: x\n  security:\n    permission_policy: loose\n"
            "  transport:\n    default: pigeon\n    local_socket:\n      enabled: maybe\n"
        )
        with self.assertRaises(ConfigurationError) as caught:
            settings_of(wrong)
        transports = (
            '"transport.default" is "pigeon"; write one of auto, in_process, local_socket, tcp, tls, grpc, http.'
        )
        for part in ("cache_ttl", "urll", "loose", transports, '"maybe"; write true or false'):
            self.assertIn(part, str(caught.exception))

    def test_that_need_more_of_yaml_are_refused_with_their_line(self) -> None:
        for wrong in ("a: [1]", "a: &x 1", "a: |", "\ta: 1", "a", "- a", "a: 1\na: 2", 'a: "open', "a:\n  - 1\n  b: 2"):
            with self.subTest(wrong), self.assertRaisesRegex(ConfigurationError, "line"):
                read_yaml(wrong)

    def test_are_not_needed_beside_the_users_own_installation(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            data, keys = os.path.join(home, "d"), os.path.join(home, "c", "hms-sys", "blue")
            for folder in (os.path.join(data, "run"), os.path.join(data, "ffi", "services"), keys):
                os.makedirs(folder)
            for path, text in (
                (os.path.join(data, "run", "kernel.sock"), ""),
                (os.path.join(keys, "operator.token"), "t\n"),
            ):
                with open(path, "w") as file:
                    file.write(text)
            env = {"HMS_INSTANCE": "blue", "HMS_DATA": data, "XDG_CONFIG_HOME": os.path.join(home, "c")}
            self.assertEqual(
                Settings(socket=f"{data}/run/kernel.sock", token="t", service_dir=f"{data}/ffi/services"),
                load_settings(env),
            )
            self.assertEqual("/k.sock", load_settings({**env, "HMS_FFI_SOCKET": "/k.sock"}).socket)

    def test_that_are_not_there_are_named(self) -> None:
        with self.assertRaisesRegex(ConfigurationError, "/nowhere.yml"):
            load_settings({"HMS_FFI_CONFIG_PATH": "/nowhere.yml"})


if __name__ == "__main__":
    unittest.main()
