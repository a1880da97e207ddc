"""Calls each method of the service: `python client.py 127.0.0.1:8000`."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import grpc


def dump(message: Any) -> bytes:
    return json.dumps(message).encode()


def main(address: str) -> None:
    codec: dict[str, Any] = {"request_serializer": dump, "response_deserializer": json.loads}
    with grpc.insecure_channel(address) as channel:
        square = channel.unary_unary("/example.Numbers/Square", **codec)
        count = channel.unary_stream("/example.Numbers/Count", **codec)
        total = channel.stream_unary("/example.Numbers/Total", **codec)
        talk = channel.stream_stream("/example.Numbers/Talk", **codec)

        print("square", square(12, timeout=10))
        print("count", list(count(5, timeout=10)))
        print("total", total(iter(range(101)), timeout=10))
        print("talk", list(talk(say(), timeout=10)))
        try:
            square("twelve", timeout=10)
        except grpc.RpcError as exc:
            print("error", exc.code().name, exc.details())


def say() -> Iterator[str]:
    yield "hello"
    yield "goodbye"


if __name__ == "__main__":
    main(*sys.argv[1:])
