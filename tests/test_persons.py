"""Identity numbers after GB 11643, days as surveys write them, and how little is shown of somebody."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.persons import (
    CARE,
    CHECKS,
    PersonDoc,
    check_digit,
    check_identity,
    check_phone,
    mask,
    mask_name,
    normal_identity,
    read_day,
)

VALID = "11010519491231002X"
"""The example of domain texts."""

numbers = st.builds(
    lambda division, born, order: f"{division:06}{born:%Y%m%d}{order:03}",
    st.integers(110000, 999999),
    st.dates(date(1850, 1, 1), date(2100, 12, 31)),
    st.integers(0, 999),
).map(lambda first: first + check_digit(first))


def test_known_numbers() -> None:
    assert check_identity(VALID) == ""
    assert check_identity("110105194912310021").startswith("the identity number's check digit is wrong")
    assert "(it should be X)" in check_identity("110105194912310021")


@given(numbers)
def test_a_number_with_its_check_digit_can_be_whatever_its_division(number: str) -> None:
    assert check_identity(number) == ""
    assert sum(int(d) * (2 ** (17 - n) % 11) for n, d in enumerate(number[:17])) % 11 == (
        (1 - CHECKS_OF[number[17]]) % 11
    ), "ISO 7064 MOD 11-2, computed another way"


CHECKS_OF = {digit: 10 if digit == "X" else int(digit) for digit in CHECKS}


@given(numbers, st.integers(0, 16), st.integers(1, 9))
def test_one_wrong_digit_is_found(number: str, place: int, by: int) -> None:
    digit = str((int(number[place]) + by) % 10)
    assert check_identity(number[:place] + digit + number[place + 1 :])


@given(numbers, st.integers(0, 15))
def test_two_neighbours_exchanged_are_found(number: str, place: int) -> None:
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    assert swapped == number or check_identity(swapped)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("", "17 digits"),
        ("12345", "17 digits"),
        ("110105491231002", "15 digits is the old form"),
        ("1101051949123100XX", "17 digits"),
        ("11010519491231002x", "17 digits"),
        ("１１０１０５１９４９１２３１００２Ｘ", "17 digits"),
        ("11010519490230002X", "date of birth 1949-02-30 is none"),
        ("11010500000101002X", "date of birth 0000-01-01 is none"),
        ("110105184912310020", "year of birth 1849 cannot be"),
        ("110105194912310020", "check digit"),
        ("11010519491231002X\n", "17 digits"),
        ("²²²²²²19491231²²²²", "17 digits"),
    ],
)
def test_what_is_no_number_is_told_why(number: str, why: str) -> None:
    assert why in check_identity(number)


def test_a_number_is_read_as_it_is_meant() -> None:
    assert normal_identity(" １１０１０５ 19491231 ００２ｘ ") == VALID
    assert normal_identity("11010519491231002x") == VALID
    assert normal_identity("") == ""


@given(st.text(max_size=30))
def test_nothing_that_is_typed_breaks_the_checks(text: str) -> None:
    assert isinstance(check_identity(normal_identity(text)), str)
    assert isinstance(check_phone(text), str)
    read_day(text)
    mask(PersonDoc(name=text, identity=text, phone=text, born=text))


@given(st.dates(date(1000, 1, 1)))
def test_days_as_surveys_write_them(day: date) -> None:
    for text in (
        day.isoformat(),
        f"{day.year}/{day.month}/{day.day}",
        f"{day.year}.{day.month:02}.{day.day:02}",
        f"{day.year}年{day.month}月{day.day}日",
        f"{day:%Y%m%d}".rjust(8, "0"),
        f"{day.isoformat()} 00:00:00",
    ):
        assert read_day(text) == day, text


@pytest.mark.parametrize(
    "text", ["", "31.12.2025", "2025-13-01", "2025-02-29", "20251", "today", "12/31/2025"]
)
def test_what_is_no_day(text: str) -> None:
    assert read_day(text) is None


def test_telephone_numbers() -> None:
    for phone in ("13800000000", "0632-5501234", "+86 138 0000 0000"):
        assert check_phone(phone) == ""
    for phone in ("110", "", "=1+1", "1380000000a", "1" * 30):
        assert "6 to 20 digits" in check_phone(phone)


def test_what_is_shown_of_somebody() -> None:
    doc = PersonDoc(
        name="欧阳小明", sex="male", born="1949-12-31", identity=VALID, phone="13812345678",
        workplace="a mill", registered="another city", relation="head",
    )  # fmt: skip
    shown = mask(doc)
    assert (shown.name, shown.born, shown.identity, shown.phone) == (
        "欧***", "1949", "110*************2X", "138******78",
    )  # fmt: skip
    assert mask_name("李") == "李*"
    assert mask_name("") == ""


@given(st.builds(PersonDoc, name=st.text(min_size=2, max_size=9), identity=numbers,
                 phone=st.from_regex(r"1[0-9]{10}", fullmatch=True)))  # fmt: skip
def test_a_mask_leaves_out_what_tells_somebody_from_others(doc: PersonDoc) -> None:
    shown = mask(doc)
    assert shown.identity[3:-2] == "*" * 13
    assert shown.phone[3:-2] == "*" * 6
    assert shown.name[1:] == "*" * len(shown.name[1:])
    assert not hasattr(shown, "workplace")


def test_care_tags_begin_with_the_old_and_the_young() -> None:
    assert {"living-alone", "left-behind-child"} <= CARE.keys()
    assert all(english and chinese for english, chinese in CARE.values())
