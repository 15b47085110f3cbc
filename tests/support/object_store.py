"""An S3 server (moto's) on 127.0.0.1, and the environment by which s3fs finds it: nothing else is needed.

::

    with object_store() as environment:     # AWS_ENDPOINT_URL and others, set here and for processes that start now
        bucket("data", {"a.txt": b"…"})     # then s3://data/a.txt
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest import mock
from urllib.request import Request, urlopen

from moto.server import ThreadedMotoServer

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "not-to-be-shown",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """The server, until the end of the block."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = {**KEYS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
        with mock.patch.dict(os.environ, environment):
            yield environment
    finally:
        forget()
        server.stop()


def forget() -> None:
    """Let s3fs read the environment anew."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


def bucket(name: str, files: Mapping[str, bytes] | None = None) -> None:
    """Make a bucket with these files."""
    import fsspec

    system = fsspec.filesystem("s3")
    system.mkdir(name)
    for file, content in (files or {}).items():
        system.pipe_file(f"{name}/{file}", content)


def objects(place: str) -> dict[str, bytes]:
    """Every object below ``"bucket/folder"``, by its name there."""
    import fsspec

    system = fsspec.filesystem("s3")
    system.invalidate_cache()
    names = system.find(place)
    return {name.removeprefix(f"{place}/"): system.cat_file(name) for name in names}


def refuse_strangers(environment: Mapping[str, str]) -> None:
    """From now on the keys are looked at, and nobody has any that are known."""
    headers = {"Content-Type": "text/plain"}
    urlopen(Request(f"{environment['AWS_ENDPOINT_URL']}/moto-api/reset-auth", b"0", headers, method="POST")).close()
