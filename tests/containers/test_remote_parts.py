"""What looking at another machine's containers is made of, without an engine."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.errors import EngineError, SamplerError
from profiling.measuring import samples
from profiling.measuring.readiness import url
from profiling.measuring.sandboxes import observing, tree, witness
from profiling.measuring.sandboxes.containers import options
from profiling.measuring.sandboxes.containers.arriving import ArrivingSamples
from profiling.measuring.sandboxes.containers.attached import ERROR, OUTPUT, Attached
from profiling.measuring.sandboxes.containers.engine import Engine, accepts, connect

SAMPLE = np.dtype(list(samples.FIELDS))
ID = "4f" * 32


def records(count: int) -> np.ndarray[Any, np.dtype[np.void]]:
    made = np.zeros(count, SAMPLE)
    made["t_ns"] = np.arange(count) * 10_000_000
    made["charged"] = np.arange(count) + 7
    return made


def arriving(path: Path, offset_ns: int = 0) -> ArrivingSamples:
    return ArrivingSamples(path / "samples", offset_ns, lambda: None)


def arrived(path: Path) -> np.ndarray[Any, np.dtype[np.void]]:
    return np.fromfile(path / "samples", SAMPLE)


@given(
    count=st.integers(0, 6),
    cuts=st.lists(st.integers(0, 6 * SAMPLE.itemsize)),
    offset_ns=st.integers(-(10**15), 10**15),
)
def test_samples_come_onto_our_clock_wherever_they_were_torn(
    tmp_path_factory: pytest.TempPathFactory, count: int, cuts: list[int], offset_ns: int
) -> None:
    path = tmp_path_factory.mktemp("torn")
    sent = records(count)
    data = sent.tobytes()
    coming = arriving(path, offset_ns)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        coming.add(data[start:end])
    coming.account({"samples": count, "cpu_s": 0.5})
    assert coming.stop(timeout_s=0) == {"samples": count, "cpu_s": 0.5}
    coming.close()
    found = arrived(path)
    assert (found["t_ns"] == sent["t_ns"] + offset_ns).all()
    assert (found["charged"] == sent["charged"]).all()


def test_a_torn_last_record_is_left_out(tmp_path: Path) -> None:
    coming = arriving(tmp_path)
    coming.add(records(2).tobytes()[:-1])
    assert len(arrived(tmp_path)) == 1


def test_an_account_may_overtake_its_samples(tmp_path: Path) -> None:
    coming = arriving(tmp_path)
    coming.account({"samples": 2, "cpu_s": 0.1})
    with pytest.raises(SamplerError, match="does not answer"):
        coming.stop(timeout_s=0)
    coming.add(records(2).tobytes())
    assert coming.stop(timeout_s=0)["samples"] == 2


def test_a_container_that_ends_first_has_the_samples_that_came(tmp_path: Path) -> None:
    coming = arriving(tmp_path)
    coming.add(records(3).tobytes())
    coming.ended(None)
    assert coming.stop(timeout_s=0) == {"samples": 3, "cpu_s": 0.0}


def test_a_lost_observer_is_an_error(tmp_path: Path) -> None:
    coming = arriving(tmp_path)
    coming.ended("MemoryError")
    with pytest.raises(SamplerError, match="MemoryError"):
        coming.stop(timeout_s=0)


class Attachable:
    """A container's other end of the stream."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()

    def attach_socket(self, params: dict[str, int]) -> socket.socket:
        return self.theirs


@pytest.fixture
def attachable() -> Iterator[Attachable]:
    made = Attachable()
    yield made
    made.ours.close()
    made.theirs.close()


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


def test_frames_are_told_apart_and_a_torn_one_ends_them(attachable: Attachable) -> None:
    attached = Attached(attachable)
    attachable.ours.sendall(frame(OUTPUT, b"records") + frame(ERROR, b"{}\n") + frame(OUTPUT, b"more")[:-2])
    attachable.ours.shutdown(socket.SHUT_WR)
    assert list(attached.frames()) == [(OUTPUT, b"records"), (ERROR, b"{}\n"), (OUTPUT, b"")]
    attached.say("end")
    assert attachable.ours.recv(10) == b"end\n"


def test_words_may_be_torn_and_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    monkeypatch.setattr(observing, "_say", lambda **line: said.append(line))
    words = observing._Words()
    for data in (b"?\nstar", b"ted\n?", b"\nsample 100\n"):
        words.answer_clock(data)
    assert len(said) == 2
    assert words.waiting() == [b"started", b"sample 100"]
    assert words.waiting() == []


@pytest.mark.parametrize("above", ["", "docker", "user.slice/user-1000.slice/user@1000.service/app.slice/podman.slice"])
@pytest.mark.parametrize(
    "form", [ID, f"docker-{ID}.scope", f"libpod-{ID}", f"libpod-{ID}.scope", f"libpod-{ID}.scope/container"]
)
def test_a_containers_cgroup_is_found_under_each_name_that_engines_give_it(
    tmp_path: Path, above: str, form: str
) -> None:
    (tmp_path / "docker" / ("ab" * 32)).mkdir(parents=True)
    (tmp_path / "memory.stat").touch()
    assert witness.find(tmp_path, ID) is None
    wanted = tmp_path / above / form
    wanted.mkdir(parents=True)
    assert witness.find(tmp_path, ID) == wanted


def test_whose_container_it_is() -> None:
    owner = options.owner()
    name, _, boot = owner.partition("@")
    namespace = name.split("-")[1]
    dead = f"oomproof-{namespace}-{2**22 + 1}-1-container"
    assert tree.is_orphan(dead)
    for local in (True, False):
        assert not options.is_orphan(owner, local=local)
        assert options.is_orphan(f"{dead}@{boot}", local=local)
        assert not options.is_orphan("", local=local)
        assert not options.is_orphan("test", local=local)
    # An earlier boot of this machine, or another machine's tool at work on the same engine.
    assert options.is_orphan(f"{name}@another-boot", local=True)
    assert not options.is_orphan(f"{name}@another-boot", local=False)


def engine(address: str, *, local: bool) -> Engine:
    return Engine(
        name="docker", client=None, address=address, version="1", cgroup_version=2, swap_limit=True, local=local
    )


@pytest.mark.parametrize(
    ("address", "host", "published"),
    [
        ("tcp://192.0.2.7:2376", "192.0.2.7", "192.0.2.7"),
        ("tcp://[2001:db8::7]:2376", "2001:db8::7", "2001:db8::7"),
        ("ssh://somebody@192.0.2.7", "192.0.2.7", "192.0.2.7"),
        # A virtual machine's engine forwards to our loopback.
        ("unix:///home/somebody/.docker/run/docker.sock", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_port_is_published_where_it_is_asked_for(address: str, host: str, published: str) -> None:
    elsewhere = engine(address, local=False)
    assert elsewhere.host == host
    assert urlsplit(url(elsewhere.host, 8000)).hostname == host
    assert options.network(elsewhere, 8000) == {"ports": {"8000/tcp": (published, 8000)}}


def test_an_engine_publishes_on_an_address_not_on_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        if host != "builder":
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert options.network(engine("tcp://builder:2376", local=False), 80) == {"ports": {"80/tcp": ("192.0.2.7", 80)}}
    with pytest.raises(EngineError, match="nowhere has no address: Name or service not known"):
        options.network(engine("tcp://nowhere:2376", local=False), 80)


def test_an_engine_of_this_machine_shares_its_loopback() -> None:
    assert options.network(engine("unix:///var/run/docker.sock", local=True), 80) == {"network_mode": "host"}


def test_a_socket_that_does_not_take_connections_yet_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "podman.sock"
    assert not accepts(path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        assert not accepts(path)
        bound.listen()
        assert accepts(path)


def test_a_socket_behind_which_nobody_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profiling.measuring.sandboxes.containers.engine._LOCAL_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        with pytest.raises(EngineError, match=r"no engine answers.*timed out"):
            connect("docker", {"DOCKER_HOST": f"unix://{tmp_path}/silent.sock"})
