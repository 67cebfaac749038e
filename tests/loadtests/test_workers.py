import pytest

from loadtests import messages
from loadtests.messages import Begin, Done, Hello, Probe, Records, packed, parsed
from loadtests.plan import LoadPlan
from loadtests.workers import Workers


def test_there_are_never_more_processes_than_users() -> None:
    assert [Workers(processes=3).expected(users) for users in (1, 2, 3, 50)] == [0, 2, 3, 3]
    assert Workers().expected(50) == 0
    assert LoadPlan.constant(5, 1.0).expected_workers == 0
    remote = Workers(remote=4, bind_host="10.0.0.5", bind_port=5557)
    assert remote.expected(2) == 4, "they were asked for one by one"


@pytest.mark.parametrize(
    "wrong",
    [
        {"processes": 0},
        {"processes": 1001},
        {"remote": -1},
        {"remote": 2},
        {"remote": 2, "bind_host": "10.0.0.5"},
        {"remote": 2, "bind_host": "10.0.0.5", "bind_port": 65_536},
        {"remote": 2, "bind_host": "10.0.0.5", "bind_port": 5557, "processes": 2},
        {"max_wait_s": float("inf")},
        {"max_wait_s": float("nan")},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"workers|finite"):
        Workers(**wrong)  # type: ignore[arg-type]


def test_the_command_names_an_address_that_can_be_typed_elsewhere() -> None:
    def command(host: str) -> str:
        return Workers(remote=1, bind_host=host, bind_port=5557).command

    assert command("10.0.0.5") == "oomproof load-worker 10.0.0.5:5557"
    assert command("fd00::5") == "oomproof load-worker [fd00::5]:5557"
    assert command("0.0.0.0") == command("*") == "oomproof load-worker THIS-MACHINE:5557"


@pytest.mark.parametrize(
    "message",
    [
        Hello(protocol=1, locust="2.47.0", host="here", pid=3, clock="boot"),
        Probe(asked_ns=2**62, theirs_ns=-5),
        Begin(start_ns=2**62, rank=1, of=2),
        Records(data=b"\0\xff", users=3),
        Done(records=3, cpu_share=None, task_errors=0, message=None),
    ],
)
def test_messages_arrive_as_they_were_sent(message: object) -> None:
    """Through Locust's own packing, which is msgpack's."""
    import msgpack  # type: ignore[import-untyped]

    sent = msgpack.loads(msgpack.dumps(packed(message)), raw=False, strict_map_key=False)  # type: ignore[arg-type]
    assert parsed(sent, type(message)) == message


def test_the_clock_of_this_machine_has_one_name() -> None:
    assert messages.clock_name() == messages.clock_name() != ""
