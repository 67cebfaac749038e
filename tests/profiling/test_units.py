import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiling.units import (
    KIB,
    MIB,
    format_bytes,
    format_ms,
    format_percent,
    format_seconds,
    parse_bytes,
    parse_fraction,
    parse_seconds,
)

sizes = st.integers(0, 2**50)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MiB", 512 * MIB),
        ("512Mi", 512 * MIB),
        ("512 mib", 512 * MIB),
        ("300MB", 300_000_000),
        ("0.5GiB", 512 * MIB),
        ("1.5KiB", 1536),
        ("2kb", 2000),
        ("1TiB", 2**40),
        ("1TB", 10**12),
        ("7B", 7),
        ("1048576", MIB),
        ("  64 MiB  ", 64 * MIB),
    ],
)
def test_sizes_are_binary_with_an_i_and_decimal_without(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["512M", "512m", "4k", "1G", "1t"])
def test_a_bare_letter_is_refused_with_both_ways_to_write_it(text: str) -> None:
    letter = text[-1].upper()
    with pytest.raises(ValueError, match=f"ambiguous.*{letter}iB.*{letter}B"):
        parse_bytes(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "MiB",
        "-1MiB",
        "+1MiB",
        "10MBjunk",
        "1 Mi B",
        "1,5MiB",
        "1e6",
        ".5GiB",
        "5.",
        "0x10",
        "inf",
        "nan",
        "1\n2",
    ],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size in bytes"):
        parse_bytes(text)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_size_of_zero_or_more_or_a_value_error(text: str) -> None:
    try:
        assert parse_bytes(text) >= 0
    except ValueError as error:
        assert repr(text) in str(error)


@pytest.mark.parametrize("parse", [parse_bytes, parse_seconds])
def test_a_number_beyond_all_bounds_is_a_value_error(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match="999"):
        parse("9" * 400)


@settings(deadline=None)
@given(sizes)
def test_a_bare_number_is_bytes(size: int) -> None:
    assert parse_bytes(str(size)) == size


@settings(deadline=None)
@given(sizes)
def test_a_printed_size_reads_back_within_half_a_percent(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == pytest.approx(size, rel=0.005)


@settings(deadline=None)
@given(sizes)
def test_a_negative_size_is_its_mirror_image(size: int) -> None:
    assert format_bytes(-size) == ("-" if size else "") + format_bytes(size)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (KIB, "1 KiB"),
        (1536, "1.50 KiB"),
        (12.3 * MIB, "12.3 MiB"),
        (408.4 * MIB, "408 MiB"),
        (512 * MIB, "512 MiB"),
        (1280 * MIB, "1.25 GiB"),
        (-3 * MIB, "-3 MiB"),
    ],
)
def test_sizes_are_printed_in_binary_units(size: float | None, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20s", 20.0), ("500ms", 0.5), ("2m", 120.0), ("2min", 120.0), ("1.5h", 5400.0), ("20", 20.0), (" 3 s ", 3.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1s", "5 parsecs", "1M", "1s2", "1m30s", "inf", "1e3"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_seconds(text)


@pytest.mark.parametrize(("text", "fraction"), [("10%", 0.1), ("0.5 %", 0.005), ("0%", 0.0), ("100%", 1.0)])
def test_percentages(text: str, fraction: float) -> None:
    assert parse_fraction(text) == pytest.approx(fraction)


@pytest.mark.parametrize("text", ["", "10", "0.1", "-1%", "%", "10%%", "10 percent"])
def test_a_percentage_needs_its_sign(text: str) -> None:
    with pytest.raises(ValueError, match="is no percentage"):
        parse_fraction(text)


def test_a_whole_percentage_is_printed_as_it_was_read() -> None:
    printed = [format_percent(parse_fraction(f"{percent}%")) for percent in range(101)]
    assert printed == [f"{percent} %" for percent in range(101)]


@settings(deadline=None)
@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_percentage_reads_zero_or_a_hundred_only_if_it_is(fraction: float) -> None:
    assert format_percent(fraction) not in {"0 %", "0.0 %", "100 %", "100.0 %"}


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (None, "–"),
        (0, "0 %"),
        (1, "100 %"),
        (0.0004, "<0.1 %"),
        (0.9999, ">99.9 %"),
        (0.999, "99.9 %"),
        (0.203, "20.3 %"),
    ],
)
def test_percentages_as_people_read_them(fraction: float | None, text: str) -> None:
    assert format_percent(fraction) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(None, "–"), (0.0, "0.0 ms"), (8.21, "8.2 ms"), (640.2, "640 ms"), (1900.0, "1.90 s"), (12_345.0, "12 s")],
)
def test_latencies_as_people_read_them(ms: float | None, text: str) -> None:
    assert format_ms(ms) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.42, "0.4 s"),
        (20, "20 s"),
        (99.5, "99.5 s"),
        (119.7, "2 min"),
        (200, "3 min 20 s"),
        (7200, "2 h"),
        (86_370, "24 h"),
        (35_400, "9 h 50 min"),
    ],
)
def test_durations_as_people_read_them(seconds: float | None, text: str) -> None:
    assert format_seconds(seconds) == text
