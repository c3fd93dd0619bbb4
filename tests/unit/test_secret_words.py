"""What is a secret by its name."""

from __future__ import annotations

import time
from typing import Any

import pytest
from saltern import secret_words

SECRET = [
    "password",
    "ldap.password",
    "admin_pass",
    "passphrase",
    "rabbit_passwd",
    "memcache_secret_key",
    "my-password",
    "EMAIL_HOST_PASSWORD",
    "transport_url",
    "database.connection",
    "slave_connection",
    "connection_string",
    "auth_encryption_key",
    "fixed_key",
    "hmac_keys",
    "admin_token",
    "private_key",
    "s3_store_access_key",
    "token_key",
    "client_credentials",
    "OS_PASSWORD",
]
PLAIN = [
    "passthrough_whitelist",
    "token_expiration",
    "tokens",
    "secrets.url",
    "key",
    "ssl_key_file",
    "connection_debug",
    "max_connections",
    "auth_url",
    "keys",
    "url",
    "keymap",
    "turn_on",
]


@pytest.mark.parametrize("name", SECRET)
def test_names_of_secrets(name: str) -> None:
    assert secret_words.sounds_secret(name)


@pytest.mark.parametrize("name", PLAIN)
def test_names_of_what_may_be_shown(name: str) -> None:
    assert not secret_words.sounds_secret(name)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("password", 12345, True),
        ("DATABASES", {"default": {"USER": "x", "PASSWORD": "y"}}, True),
        ("DATABASES", {"default": {"USER": "x"}}, False),
        ("env", ["A=1", "DB_PASSWORD=x"], True),
        ("", ["user x", "password x"], True),
        ("", ["user x", "the password"], False),
        ("methods", "password", False),
        ("args", "password=", False),
        ("debug", True, False),
        ("args", "--user x --password=y", True),
    ],
)
def test_a_name_may_stand_inside_a_value(name: str, value: Any, secret: bool) -> None:
    assert secret_words.told(name, value) is secret


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a = 1\npassword = x\n   y\n\nb = 2\n", "a = 1\npassword = -\n\nb = 2\n"),
        ("# password=x\n;passwd x\nsecret", "# password=-\n;passwd -\nsecret"),
        ("password =\n  x\n\n  y\nb = 2", "password =\n\nb = 2"),
        ('{\n  "password": "x",\n  "user": "y"\n}\n', '{\n  "password": -\n  "user": "y"\n}\n'),
        ('{"user": "y", "password": "x"}', '{"user": "y", "password": -'),
        ("key:\n  token: |\n    x\n    y\n  z: 1\n", "key:\n  token: -\n  z: 1\n"),
        ("private_key = x", "private_key = x"),
    ],
)
def test_a_text_ends_before_each_secret(text: str, shown: str) -> None:
    assert secret_words.without(text, "-", {"private_key = x"}) == shown


def test_a_long_line_takes_no_long_time() -> None:
    began = time.monotonic()
    secret_words.without("A" * 200_000 + " " * 200_000 + "x", "-")
    assert time.monotonic() - began < 2
