"""What proxies say of a request, and what is believed of it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.http1.apps import hello
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.scope import Origin
from uvicorn_worker.proxies.forwarded import OriginReader, forwarded_elements, parse_node
from uvicorn_worker.proxies.trust import Trust

PROXIES = "10.0.0.0/8,2001:db8:aa::/48"
CLIENT = {"client": ("203.0.113.5", 0)}
ALL = "for,proto,host,port,prefix,forwarded"


def reader(trust: str = PROXIES, **options: Any) -> OriginReader:
    return OriginReader(Config(app=hello, **options), Trust(trust))


def read(*lines: str, trust: str = PROXIES, **options: Any) -> Origin:
    fields = []
    for line in lines:
        name, _, value = line.partition(": ")
        fields.append((name.lower().encode(), value.encode("latin-1")))
    made = reader(trust, **options)
    return made.read(tuple(field for field in fields if field[0] in made.names))


def scope_of(*lines: str, scope: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """A scope after the origin of these fields was put into it."""
    raw_root_path = b""
    made: dict[str, Any] = {
        "client": ("10.0.0.1", 1),
        "server": ("10.0.0.9", 8000),
        "scheme": "http",
        "root_path": "",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "headers": [(b"a", b"1"), (b"host", b"inner"), (b"b", b"2")],
    }
    if scope is not None:
        made |= scope
        raw_root_path = made["root_path"].encode()
    origin = read(*lines, **options)
    made.update(origin.changes)
    if origin.rewrite is not None:
        origin.rewrite(made, raw_root_path)
    return made


class TestNodes:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("192.0.2.1", ("192.0.2.1", 0)),
            ("192.0.2.1:80", ("192.0.2.1", 80)),
            ("192.0.2.1:65535", ("192.0.2.1", 65535)),
            ("2001:db8::1", ("2001:db8::1", 0)),
            ("[2001:db8::1]", ("2001:db8::1", 0)),
            ("[2001:db8::1]:80", ("2001:db8::1", 80)),
            ("::ffff:192.0.2.1", ("::ffff:192.0.2.1", 0)),
            ("fe80::1%eth0", ("fe80::1%eth0", 0)),
            # A port that is none (RFC 7239, 6.3: it may be obfuscated).
            ("192.0.2.1:_p", ("192.0.2.1", 0)),
            ("192.0.2.1:", ("192.0.2.1", 0)),
            ("192.0.2.1:65536", ("192.0.2.1", 0)),
            ("192.0.2.1:+80", ("192.0.2.1", 0)),
            ("192.0.2.1:8\u0660", ("192.0.2.1", 0)),
            ("[2001:db8::1]:x", ("2001:db8::1", 0)),
            # No address.
            ("unknown", None),
            ("_hidden", None),
            ("", None),
            ("unix:", None),
            ("example.org:80", None),
            ("[192.0.2.1]", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]80", None),
            ("[2001:db8::1]]", None),
            ("192.0.2.1:80:80", None),
            ("192.0.2.1.", None),
            ("1", None),
            ('"192.0.2.1"', None),
        ],
    )
    def test_node(self, text: str, address: Any) -> None:
        assert parse_node(text) == address


class TestFor:
    @pytest.mark.parametrize(
        ("lines", "client"),
        [
            (["203.0.113.5"], ("203.0.113.5", 0)),
            (["203.0.113.5:1234"], ("203.0.113.5", 1234)),
            (["[2001:db8::5]:1234"], ("2001:db8::5", 1234)),
            # The rightmost that is not trusted: what is left of it is anybody's word.
            (["198.51.100.9, 203.0.113.5"], ("203.0.113.5", 0)),
            (["198.51.100.9, 203.0.113.5, 10.0.0.2"], ("203.0.113.5", 0)),
            (["203.0.113.5, 10.0.0.2, 2001:db8:aa::1"], ("203.0.113.5", 0)),
            (["203.0.113.5,10.0.0.2:99,[2001:db8:aa::1]:7"], ("203.0.113.5", 0)),
            # All are trusted: the leftmost.
            (["10.0.0.3:5, 10.0.0.2"], ("10.0.0.3", 5)),
            # Lines are one list.
            (["198.51.100.9", "203.0.113.5", "10.0.0.2"], ("203.0.113.5", 0)),
            ([" 203.0.113.5 ,\t10.0.0.2 , "], ("203.0.113.5", 0)),
            # Something that is no address ends the walk at the last good one.
            (["203.0.113.5, unknown, 10.0.0.2"], ("10.0.0.2", 0)),
            (["203.0.113.5, _hidden"], None),
            (["unknown"], None),
            ([""], None),
            ([" , ,"], None),
            (["\xe9"], None),
        ],
    )
    def test_client(self, lines: list[str], client: Any) -> None:
        assert read(*(f"X-Forwarded-For: {line}" for line in lines)).changes.get("client") == client

    def test_where_all_are_trusted_it_is_the_leftmost(self) -> None:
        assert read("X-Forwarded-For: 198.51.100.9, 203.0.113.5", trust="*").changes["client"] == ("198.51.100.9", 0)
        assert read("X-Forwarded-For: x, 203.0.113.5", trust="*").changes["client"] == ("203.0.113.5", 0)

    def test_a_hop_over_a_unix_socket(self) -> None:
        line = "X-Forwarded-For: 203.0.113.5, unix:"
        assert read(line, trust="10.0.0.0/8,unix").changes["client"] == ("203.0.113.5", 0)
        assert read(line, trust="10.0.0.0/8").changes == {}

    def test_a_list_without_end(self) -> None:
        far = read("X-Forwarded-For: 203.0.113.5" + ", 10.0.0.1" * 99).changes["client"]
        too_far = read("X-Forwarded-For: 203.0.113.5, 203.0.113.6" + ", 10.0.0.1" * 200_000).changes["client"]
        assert (far, too_far) == (("203.0.113.5", 0), ("10.0.0.1", 0))

    def test_off(self) -> None:
        assert read("X-Forwarded-For: 203.0.113.5", forwarded_headers="proto").changes == {}
        assert reader(proxy_headers=False).names == frozenset()


class TestScheme:
    @pytest.mark.parametrize(
        ("lines", "scheme"),
        [
            ([], None),
            (["X-Forwarded-Proto: https"], "https"),
            (["X-Forwarded-Proto: http"], "http"),
            (["X-Forwarded-Proto: wss"], "https"),
            (["X-Forwarded-Proto: ws"], "http"),
            (["X-Forwarded-Proto: HTTPS"], "https"),
            (["X-Forwarded-Proto: ftp"], "http"),
            (["X-Forwarded-Protocol: ssl"], "https"),
            (["X-Forwarded-Protocol: https"], "http"),
            (["X-Forwarded-Ssl: on"], "https"),
            (["X-Forwarded-Ssl: off"], "http"),
            (["X-Forwarded-Ssl: on", "X-Forwarded-Proto: https", "X-Forwarded-Protocol: ssl"], "https"),
            (["X-Forwarded-Proto: https", "X-Forwarded-Proto: https"], "https"),
            # The item of the proxy that has seen the client.
            (["X-Forwarded-Proto: https, http"], "http"),
            (["X-Forwarded-For: 203.0.113.5, 10.0.0.2", "X-Forwarded-Proto: https, http"], "https"),
            (["X-Forwarded-For: 1.2.3.4, 203.0.113.5, 10.0.0.2", "X-Forwarded-Proto: http, https, http"], "https"),
            # Several lines are one list: that of the nearest proxy, which has added it, is the last.
            (["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"], "http"),
            (["X-Forwarded-Proto: http", "X-Forwarded-Proto: https"], "https"),
            (["X-Forwarded-Ssl: off", "X-Forwarded-Ssl: on"], "https"),
            (
                ["X-Forwarded-For: 203.0.113.5, 10.0.0.2", "X-Forwarded-Proto: https", "X-Forwarded-Proto: http"],
                "https",
            ),
            # One proxy only has said it.
            (["X-Forwarded-For: 203.0.113.5, 10.0.0.2", "X-Forwarded-Proto: https"], "https"),
        ],
    )
    def test_gunicorns_table(self, lines: list[str], scheme: str | None) -> None:
        assert read(*lines).changes.get("scheme") == scheme

    @pytest.mark.parametrize(
        "lines",
        [
            ["X-Forwarded-Ssl: on", "X-Forwarded-Proto: http"],
            ["X-Forwarded-Proto: https", "X-Forwarded-Proto: http", "X-Forwarded-Ssl: on"],
            ["X-Forwarded-Protocol: ssl", "X-Forwarded-Ssl: off"],
            ["X-Forwarded-Proto: https", "Forwarded: proto=http"],
        ],
    )
    def test_a_contradiction_is_refused(self, lines: list[str]) -> None:
        with pytest.raises(RequestRefused, match="contradict") as caught:
            read(*lines, forwarded_headers=ALL)
        assert caught.value.status == 400

    def test_another_table_takes_its_place(self) -> None:
        table = {"X-TLS": "Yes, it is", "Front-End-Https": "on"}
        assert read("X-TLS: Yes, it is", secure_scheme_headers=table).changes["scheme"] == "https"
        assert read("X-TLS: yes", secure_scheme_headers=table).changes["scheme"] == "http"
        assert read("front-end-https: on", secure_scheme_headers=table).changes["scheme"] == "https"
        assert read("X-Forwarded-Proto: https", secure_scheme_headers=table).changes == {}
        assert read("X-Forwarded-Proto: https", secure_scheme_headers={}).changes == {}

    def test_off(self) -> None:
        for options in ({"forwarded_headers": "for"}, {"proxy_headers": False}):
            assert read("X-Forwarded-Proto: https", "X-Forwarded-Ssl: on", **options).changes == {}


class TestForwardedElements:
    @pytest.mark.parametrize(
        ("value", "elements"),
        [
            ("for=192.0.2.1", [{"for": "192.0.2.1"}]),
            (
                'For="[2001:db8:cafe::17]:4711";proto=https;by=203.0.113.43',
                [{"for": "[2001:db8:cafe::17]:4711", "proto": "https", "by": "203.0.113.43"}],
            ),
            ("for=1.1.1.1, for=2.2.2.2,for=3.3.3.3", [{"for": "3.3.3.3"}, {"for": "2.2.2.2"}, {"for": "1.1.1.1"}]),
            ('x="a, \\"b\\", c";for=_h', [{"x": 'a, "b", c', "for": "_h"}]),
            (";for=1.1.1.1", [{"for": "1.1.1.1"}]),
            (";;", [{}]),
            ("for=1.1.1.1;", [{"for": "1.1.1.1"}]),
            ("for=1.1.1.1; ;\tproto=http", [{"for": "1.1.1.1", "proto": "http"}]),
            (" , for=1.1.1.1 ,, ", [{"for": "1.1.1.1"}]),
            ("for=[::1]:80", [{"for": "[::1]:80"}]),
            ('for=""', [{"for": ""}]),
            ("", []),
            (" , ", []),
            # What is left of something malformed is not looked at.
            ("for=1.1.1.1, nonsense, for=2.2.2.2", [{"for": "2.2.2.2"}]),
            ("for = 1.1.1.1", []),
            ("for=", []),
            ("for=1.1.1.1 proto=http", []),
            ('for="\x01"', []),
            # A quote that is left open does not swallow what comes behind it.
            ('for="x, for=2.2.2.2', [{"for": "2.2.2.2"}]),
            ('for="x, for="[2001:db8::1]"', [{"for": "[2001:db8::1]"}]),
            ('for="x\\, for=2.2.2.2', [{"for": "2.2.2.2"}]),
            ('x="' + "a," * 1000 + '", for=2.2.2.2', [{"for": "2.2.2.2"}]),
            ("a=b," * 9000 + "a=b", [{"a": "b"}] * 100),
        ],
    )
    def test_elements(self, value: str, elements: Any) -> None:
        assert list(forwarded_elements(value)) == elements

    @pytest.mark.parametrize("piece", [";", "; ", "a=b;", 'a="', '"', ",", 'a="\\', "a=b,", " ", "a", "\\"])
    def test_hostile_values_take_no_time(self, piece: str) -> None:
        """A pattern that tries all ways to read this would not be done in the age of the universe."""
        for end in ("", "!", '"', "\0"):
            assert len(list(forwarded_elements(piece * 4000 + end))) <= 4001


class TestForwarded:
    @pytest.mark.parametrize(
        ("value", "changes"),
        [
            ("for=203.0.113.5;proto=https", {**CLIENT, "scheme": "https"}),
            ("for=1.2.3.4, for=203.0.113.5;proto=https, for=10.0.0.2;proto=http", {**CLIENT, "scheme": "https"}),
            # Where the element of the client does not say it, the nearest one behind it does.
            ("for=203.0.113.5, for=10.0.0.2;proto=https", {**CLIENT, "scheme": "https"}),
            ("for=203.0.113.5;proto=wss", {**CLIENT, "scheme": "https"}),
            ("for=203.0.113.5;proto=gopher", CLIENT),
            ('for="[2001:db8::5]:77"', {"client": ("2001:db8::5", 77)}),
            ("for=_hidden;proto=https", {"scheme": "https"}),
            ("proto=https", {"scheme": "https"}),
            (
                "for=203.0.113.5;proto=https, for=unknown, for=10.0.0.2;proto=http",
                {"client": ("10.0.0.2", 0), "scheme": "http"},
            ),
            ("nonsense", {}),
        ],
    )
    def test_client_and_scheme(self, value: str, changes: dict[str, Any]) -> None:
        assert read(f"Forwarded: {value}", forwarded_headers="forwarded").changes == changes

    def test_lines_are_one_list(self) -> None:
        lines = ("Forwarded: for=203.0.113.5", "Forwarded: for=10.0.0.2")
        assert read(*lines, forwarded_headers=ALL).changes == {"client": ("203.0.113.5", 0)}

    def test_it_wins_over_x_forwarded_for(self) -> None:
        lines = ("X-Forwarded-For: 198.51.100.1", "Forwarded: for=203.0.113.5")
        assert read(*lines, forwarded_headers=ALL).changes == {"client": ("203.0.113.5", 0)}
        lines = ("X-Forwarded-For: 198.51.100.1", "Forwarded: for=_hidden")
        assert read(*lines, forwarded_headers=ALL).changes == {"client": ("198.51.100.1", 0)}

    def test_it_is_an_option(self) -> None:
        assert read("Forwarded: for=203.0.113.5;proto=https").changes == {}

    def test_the_host(self) -> None:
        line = 'Forwarded: host=evil, for=203.0.113.5;host="example.org:8443";proto=https, for=10.0.0.2;host=inner'
        scope = scope_of(line, forwarded_headers="forwarded")
        assert scope["headers"] == [(b"host", b"example.org:8443"), (b"a", b"1"), (b"b", b"2")]
        assert scope["server"] == ("example.org", 8443)


class TestHostAndPort:
    @pytest.mark.parametrize(
        ("lines", "host", "server"),
        [
            (["X-Forwarded-Host: example.org"], b"example.org", ("example.org", 80)),
            (["X-Forwarded-Host: example.org:81"], b"example.org:81", ("example.org", 81)),
            (["X-Forwarded-Host: example.org", "X-Forwarded-Proto: https"], b"example.org", ("example.org", 443)),
            (["X-Forwarded-Host: [2001:db8::1]:81"], b"[2001:db8::1]:81", ("2001:db8::1", 81)),
            (["X-Forwarded-Host: example.org", "X-Forwarded-Port: 82"], b"example.org", ("example.org", 82)),
            (["X-Forwarded-Port: 82"], b"inner", ("10.0.0.9", 82)),
            (["X-Forwarded-Host: evil, example.org"], b"example.org", ("example.org", 80)),
            (["X-Forwarded-For: 203.0.113.5, 10.0.0.2", "X-Forwarded-Host: outer, inner2"], b"outer", ("outer", 80)),
            # What is no host or no port is left out.
            (["X-Forwarded-Host: a b"], b"inner", ("10.0.0.9", 8000)),
            (["X-Forwarded-Host: a/b"], b"inner", ("10.0.0.9", 8000)),
            (["X-Forwarded-Host: a@b"], b"inner", ("10.0.0.9", 8000)),
            (["X-Forwarded-Host: "], b"inner", ("10.0.0.9", 8000)),
            (["X-Forwarded-Port: x"], b"inner", ("10.0.0.9", 8000)),
            (["X-Forwarded-Port: 0"], b"inner", ("10.0.0.9", 8000)),
            (["X-Forwarded-Port: 65536"], b"inner", ("10.0.0.9", 8000)),
        ],
    )
    def test_host_and_server(self, lines: list[str], host: bytes, server: Any) -> None:
        scope = scope_of(*lines, forwarded_headers=ALL)
        assert [value for name, value in scope["headers"] if name == b"host"] == [host]
        assert scope["server"] == server

    def test_behind_a_unix_socket_the_name_is_that_of_the_host_field(self) -> None:
        unix = {"server": ("/run/app.sock", None)}
        scope = scope_of("X-Forwarded-Port: 8443", scope=unix, forwarded_headers=ALL)
        assert scope["server"] == ("inner", 8443)
        scope = scope_of("X-Forwarded-Port: 8443", scope={**unix, "headers": []}, forwarded_headers=ALL)
        assert scope["server"] == ("/run/app.sock", None)

    def test_a_request_without_host(self) -> None:
        scope = scope_of("X-Forwarded-Host: a", scope={"headers": [], "server": None}, forwarded_headers=ALL)
        assert scope["headers"] == [(b"host", b"a")]
        assert scope["server"] == ("a", 80)

    def test_they_are_options(self) -> None:
        lines = ("X-Forwarded-Host: example.org", "X-Forwarded-Port: 82", "X-Forwarded-Prefix: /api")
        assert read(*lines).rewrite is None


class TestPrefix:
    @pytest.mark.parametrize(
        ("value", "root_path", "raw"),
        [
            ("/api", "/api", b"/api"),
            ("/api/", "/api", b"/api"),
            ("/api/v1", "/api/v1", b"/api/v1"),
            ("/caf%C3%A9", "/caf\xe9", b"/caf%C3%A9"),
            ("/evil, /api", "/api", b"/api"),
            ("/", "", b""),
        ],
    )
    @pytest.mark.parametrize("before", ["", "/mounted"])
    def test_root_path(self, value: str, root_path: str, raw: bytes, before: str) -> None:
        """It takes the place of the option root_path."""
        mounted = {"root_path": before, "path": before + "/a b", "raw_path": before.encode() + b"/a%20b"}
        scope = scope_of(f"X-Forwarded-Prefix: {value}", scope=mounted, forwarded_headers="prefix")
        assert (scope["root_path"], scope["path"], scope["raw_path"]) == (
            root_path,
            root_path + "/a b",
            raw + b"/a%20b",
        )

    @pytest.mark.parametrize("value", ["", "api", "//evil.example", "/a?b", "/a b", "/a#", "/\xe9", "/a//b"])
    def test_what_is_no_path_is_left_out(self, value: str) -> None:
        scope = scope_of(f"X-Forwarded-Prefix: {value}", forwarded_headers="prefix")
        assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("", "/a b", b"/a%20b")


class TestMemory:
    def test_what_is_remembered_has_a_bound(self) -> None:
        made = reader()
        for number in range(5000):
            fields = ((b"x-forwarded-for", b"203.%d.%d.5" % (number >> 8, number & 255)),)
            assert made.read(fields).changes["client"] == (f"203.{number >> 8}.{number & 255}.5", 0)
            made.read(((b"x-forwarded-proto", b"%d" % number),))
        assert len(made.origins) <= 1024
        assert len(made._others) <= 1024

    def test_long_fields_are_not_remembered(self) -> None:
        made = reader()
        made.read(((b"x-forwarded-for", b"203.0.113.5" + b", 10.0.0.1" * 100), (b"x-forwarded-proto", b"x" * 600)))
        assert not made.origins
        assert not made._others


ADDRESSES = [
    "203.0.113.5", "2001:db8::1", "::ffff:203.0.113.5", "203.0.113.5:80", "[2001:db8::1]:80", "fe80::1%eth0", "unix:",
    "unknown", "", "203.0.113.5, 10.0.0.1", "10.0.0.1", " 203.0.113.5", "fe80::1%" + "x" * 100, "203.0.113", "\xe9",
]  # fmt: skip
OTHERS = [
    ("x-forwarded-proto", "https"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "example.net"),
    ("x-forwarded-prefix", "/api"), ("forwarded", "for=198.51.100.7"), ("x-forwarded-port", "8443"),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_a_client_that_is_new_behind_a_proxy_that_is_not(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of the proxy's other fields gives what reading all of them gives."""
    chance = random.Random(seed)
    config = Config("a:b", forwarded_headers="for,proto,host,port,prefix,forwarded")
    quick, full = (OriginReader(config, Trust("10.0.0.0/8")) for _ in range(2))
    monkeypatch.setattr(full, "_behind_one_proxy", lambda fields: None)
    for _ in range(2000):
        fields = [("x-forwarded-for", chance.choice(ADDRESSES)) for _ in range(chance.choice([1, 1, 1, 0, 2]))]
        fields += chance.choices(OTHERS, k=chance.randrange(3))
        chance.shuffle(fields)
        asked = tuple((name.encode(), value.encode("latin-1")) for name, value in fields)
        if asked:
            assert told(quick, asked) == told(full, asked), asked


def told(reader: OriginReader, fields: tuple[tuple[bytes, bytes], ...]) -> object:
    try:
        origin = reader.origins.get(fields) or reader.read(fields)
    except RequestRefused as exc:
        return str(exc)
    parts = getattr(origin.rewrite, "__self__", None)
    return origin.changes, parts and [getattr(parts, name) for name in parts.__slots__]
