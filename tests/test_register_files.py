"""Surveys as they come: encodings, spreadsheets, hostile cells; and what was not taken, to be mended."""

import csv
import stat
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from desk import registercheck as check
from desk import registersheets
from desk.registerfiles import Rejected, RejectFile, Row, escaped, plain, read, write_csv
from desk.synthbad import write_sheet
from events.errors import ConfigError

HEAD = ["姓名", "性别", "现住房屋编号"]
ROWS = [["张合成", "男", "H1"], ["联通", "女", "H2"], ["李合成", "男", "H3"]]
TEXT = "".join(",".join(row) + "\r\n" for row in [HEAD, *ROWS])


def values(rows: list[Row]) -> list[list[str]]:
    return [list(row.values.values()) for row in rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16", "utf-16-le"])
def test_csv_in_any_encoding_that_is_in_use(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "survey.csv"
    path.write_bytes((b"\xff\xfe" if encoding == "utf-16-le" else b"") + TEXT.encode(encoding))
    rows = list(read(path))
    assert [list(row.values) for row in rows] == [HEAD] * 3
    assert values(rows) == ROWS
    assert [row.number for row in rows] == [2, 3, 4]
    assert not any(row.problem for row in rows)


def test_lines_of_both_encodings_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "survey.csv"
    lines = TEXT.splitlines(keepends=True)
    path.write_bytes(b"".join(line.encode(("utf-8", "gb18030")[n % 2]) for n, line in enumerate(lines)))
    assert values(list(read(path))) == ROWS
    # In UTF-8 the two bytes of 通 are a sign of another script: what the lines before are decides.
    assert "通".encode("gb18030").decode("utf-8") == "\u0368"
    path.write_bytes(lines[0].encode("gb18030") + "通,M,H1\r\n".encode("gb18030"))
    assert values(list(read(path))) == [["通", "M", "H1"]]


def test_bytes_of_no_encoding_are_a_row_to_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "survey.csv"
    path.write_bytes(TEXT.encode() + b"\xff\xff\xff,x,H4\r\n" + "王合成,男,H5\r\n".encode())
    rows = list(read(path))
    assert [bool(row.problem) for row in rows] == [False, False, False, True, False]
    assert "neither UTF-8 nor GB18030" in rows[3].problem


@pytest.mark.parametrize("comma", [",", "\t", ";"])
def test_quotes_lines_within_cells_and_other_commas(tmp_path: Path, comma: str) -> None:
    path = tmp_path / "survey.csv"
    rows = [["name", "note", "home"], ["a\nb", f'say "x"{comma}y', "H1"], ["c", "d", "H2"]]
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=comma).writerows(rows)
    assert values(list(read(path))) == rows[1:]


def test_rows_that_are_too_short_or_too_long_are_told(tmp_path: Path) -> None:
    path = tmp_path / "survey.csv"
    path.write_text("name,home,phone\na,H1\nb,H2,1,2\n\n,,\nc,H3,4\n")
    rows = list(read(path))
    assert [row.problem for row in rows] == [
        "the row has 2 cells, the heading 3", "the row has 4 cells, the heading 3", "",
    ]  # fmt: skip
    assert rows[0].values == {"name": "a", "home": "H1", "phone": ""}
    assert rows[2].number == 6


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n\n\n", "is empty, or its first row has no headings"),
        (b"name,name\na,b\n", "'name' stands there twice"),
        (b'name,home\n"' + b"x" * 200_000, "field larger than field limit"),
    ],
)
def test_files_that_cannot_be_read_at_all(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "survey.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=why):
        list(read(path))


@pytest.mark.parametrize(
    ("name", "why"), [("a.csv", "there is no file"), ("b.pdf", "send .csv or .xlsx"), ("c.xls", "old Excel")]
)
def test_other_files(tmp_path: Path, name: str, why: str) -> None:
    if name != "a.csv":
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match=why):
        list(read(tmp_path / name))


# -- spreadsheets


def book(path: Path, rows: list[list[object]], merged: tuple[str, ...] = ()) -> Path:
    made = Workbook()
    sheet = made.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    for area in merged:
        sheet.merge_cells(area)
    made.save(path)
    return path


def test_merged_cells_say_the_same_for_every_row_and_titles_are_passed_over(tmp_path: Path) -> None:
    import datetime

    path = book(
        tmp_path / "survey.xlsx",
        [
            ["某社区人口登记表", None, None, None],
            ["姓名", "户号", "现住房屋编号", "出生日期"],
            ["张合成", "7", "H1", datetime.date(1990, 5, 31)],
            ["李合成", None, None, "1991-06-01"],
            [None, None, None, None],
            ["王合成", 8, "H2", None],
        ],
        ("A1:D1", "B3:B4", "C3:C4"),
    )
    rows = list(read(path))
    assert values(rows) == [
        ["张合成", "7", "H1", "1990-05-31"],
        ["李合成", "7", "H1", "1991-06-01"],
        ["王合成", "8", "H2", ""],
    ]
    assert [row.number for row in rows] == [3, 4, 6]
    assert list(rows[0].values) == ["姓名", "户号", "现住房屋编号", "出生日期"]


def test_an_identity_number_that_became_a_number_has_lost_its_end(tmp_path: Path) -> None:
    cells: list[object] = [370481199001011234, "11010519491231002X", 3.70481199001011e17, 13800000000]
    path = book(tmp_path / "survey.xlsx", [["姓名", "身份证号"], *(["a", cell] for cell in cells)])
    rows = list(read(path))
    assert [bool(row.problem) for row in rows] == [True, False, True, False]
    assert "make the column text" in rows[0].problem
    assert rows[3].values["身份证号"] == "13800000000"


def test_what_only_looks_like_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "survey.xlsx"
    for content in (b"", b"name,home\n", b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="no spreadsheet that can be read"):
            list(read(path))
    with ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    with pytest.raises(ConfigError, match="no spreadsheet that can be read"):
        list(read(path))
    with pytest.raises(ConfigError, match="is empty"):
        list(read(book(path, [])))


def test_a_spreadsheet_that_unpacks_to_more_than_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = book(tmp_path / "survey.xlsx", [["name", "home"], ["a", "H1"]])
    monkeypatch.setattr(registersheets, "MOST_UNPACKED", 1 << 20)
    with ZipFile(path, "a", ZIP_DEFLATED) as archive:
        archive.writestr("xl/more.xml", bytes(2 << 20))
    assert path.stat().st_size < 100_000
    with pytest.raises(ConfigError, match="holds over 1 MiB when unpacked; save it as CSV"):
        list(read(path))


def test_a_merged_cell_of_the_whole_sheet_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "survey.xlsx"
    write_sheet(path, [["name", "home"], ["a", "H1"]], merged="D1:XFD1048576")
    assert values(list(read(path)))[0][:2] == ["a", "H1"]


# -- formulas


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_no_cell_that_is_written_is_a_formula_and_each_is_read_as_it_was(text: str) -> None:
    cell = escaped(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    if text == text.strip() and not text.startswith("'"):
        assert plain(cell) == text


def test_an_export_is_for_its_owner_and_holds_no_formula(tmp_path: Path) -> None:
    path = tmp_path / "persons.csv"
    hostile = ['=cmd|"/c calc"!A1', "@SUM(1)", "+861380000", "-1", "\t=1", "a,b", 'say "x"', "合成"]
    assert write_csv(path, ["name"] * len(hostile), [hostile]) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"\xef\xbb\xbf"), "Excel reads it as UTF-8"
    with path.open(encoding="utf-8-sig", newline="") as file:
        cells = list(csv.reader(file))[1]
    assert [cell.lstrip("'") for cell in cells] == hostile
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    with pytest.raises(ConfigError, match="is there already"):
        write_csv(path, ["name"], [])


def test_rejected_rows_are_mended_and_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "survey.csv"
    path.write_text("姓名,身份证号,=x\n=1+1,1234\n李合成,11010519491231002X,z\n")
    rows = list(read(path))
    aside = tmp_path / "survey.rejected.csv"
    aside.write_text("of an earlier run")
    aside.chmod(0o644)
    file = RejectFile(aside)
    file.add(rows[0], Rejected(row=rows[0].number, field="身份证号", why="17 digits"))
    file.add(rows[1], Rejected(row=rows[1].number, field="", why="no home"))
    file.close()
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600, "it says of people what the survey says"
    text = aside.read_text("utf-8-sig")
    assert text.splitlines()[0] == "_row,_why,姓名,身份证号,'=x", "whatever the first row lacks"
    assert text.splitlines()[1] == "2,17 digits,'=1+1,1234,"
    again = list(read(aside))
    assert [row.values["姓名"] for row in again] == ["=1+1", "李合成"]
    assert [row.values["=x"] for row in again] == ["", "z"]
    found = check.columns(list(again[0].values), check.PERSON_FIELDS, {})
    assert found == {"name": "姓名", "identity": "身份证号"}


def test_nothing_is_written_while_nothing_is_rejected(tmp_path: Path) -> None:
    file = RejectFile(tmp_path / "survey.rejected.csv")
    file.close()
    assert list(tmp_path.iterdir()) == []
