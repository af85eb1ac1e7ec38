"""Tables of clips as rows: what is JSON, CSV, TSV, which column is what, and files that are no manifest."""

import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.corpus import tables
from kws.corpus.columns import USUAL_NAMES, Columns
from kws.corpus.rows import Unusable, piece_of, seconds_of, split_of, text_of
from kws.support.errors import KwsError

NO_WORDS = "a.wav,yes\n"


def written(folder, data, name="clips.csv"):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def rows(path, own=None):
    return [(row.line, row.refused or row.fields) for row in tables.read(path, Columns(own))]


def both(line):
    return line, {"path": "a.wav", "label": "yes"}


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.json", "x"])
@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.wav,yes\n",
        "path, label\n a.wav , yes",
        "PATH;Label\r\na.wav;yes\r\n",
        "label\tpath\nyes\ta.wav\n",
        '"path","label"\n"a.wav","yes"\n',
        "path,label,\na.wav,yes,\n",
        '{"audio_filepath": "a.wav", "command": "yes"}\n',
        '{"path": "a.wav", "label": "yes", "other": [1, {}]}',
    ],
)
def test_what_is_in_a_file_decides_not_its_name(tmp_path, name, text):
    (row,) = rows(written(tmp_path, text, name))
    assert row == both(1 if text.startswith("{") else 2)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("text", ["path,label\na.wav,Küche\n", '{"path": "a.wav", "label": "Küche"}\n'])
def test_marks_at_the_beginning(tmp_path, encoding, text):
    data = text.encode(encoding)
    ((_, fields),) = rows(written(tmp_path, data if encoding != "utf-16-le" else b"\xff\xfe" + data))
    assert fields == {"path": "a.wav", "label": "Küche"}


def test_quotes_and_lines(tmp_path):
    text = 'path,label\n\n"a,b ""c"".wav",yes\n"two\nlines.wav",no\n,\nd.wav,up\ne.wav\nf.wav,up,up\n'
    assert rows(written(tmp_path, text)) == [
        (3, {"path": 'a,b "c".wav', "label": "yes"}),
        (4, {"path": "two\nlines.wav", "label": "no"}),
        (6, {"path": "", "label": ""}),
        (7, {"path": "d.wav", "label": "up"}),
        (8, "1 fields where the first line names 2 columns"),
        (9, "3 fields where the first line names 2 columns"),
    ]


def test_names_that_are_no_utf8_come_through(tmp_path):
    ((_, fields),) = rows(written(tmp_path, b"path,label\na\xff.wav,yes\n"))
    assert fields["path"] == "a\udcff.wav"
    with pytest.raises(KwsError, match=r"clips\.csv:7: its label .* is no UTF-8"):
        tables.check_text(tmp_path / "clips.csv", 7, "label", "K\udcfcche")


def test_every_usual_name(tmp_path):
    names = [(field, name) for field, usual in USUAL_NAMES.items() for name in usual]
    assert len({name for _, name in names}) == len(names)
    for field, name in names:
        assert Columns().of([name.upper()], "x:1") == {field: name.upper()}


def test_names_of_ones_own(tmp_path):
    path = written(tmp_path, "Datei;Wort;label;split\na.wav;yes;7;train\n")
    ((_, fields),) = rows(path, {"path": "Datei", "label": "Wort", "split": None})
    assert fields == {"path": "a.wav", "label": "yes"}
    for own, what in (
        ({"labl": "x"}, "data.columns names 'labl'"),
        ({"label": 7}, "data.columns.label is 7"),
        ({"path": "Datei", "label": "wort"}, r"clips\.csv:1: no column is called 'wort'.* among 'Datei', 'Wort'"),
    ):
        with pytest.raises(KwsError, match=what):
            rows(path, own)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("path,file,label\n", r":1: which column is the path\? 'path' and 'file' could both be it"),
        ("path,label,label\n", r":1: which column is the label\? the column 'label' is there twice"),
        ("path,duration\n", r":1: no column says the label .* among 'path', 'duration'; name it: data\.columns"),
        ("label,x\n", ":1: no column says the path"),
        (NO_WORDS, ":1: no column says the path"),
        ("client_id\tpath\tsentence\tup_votes\n", "'sentence' holds whole sentences, as in Common Voice.*data=mswc"),
        ("\n\npath,file,label\n", ":3: which column"),
        ("", "is empty"),
        ("\ufeff \n\n", "is empty"),
        ('[{"path": "a"}]', "one array of JSON"),
        (b"PK\3\4\0\0\0", "no text"),
        (b"\xff\xfea\0b", "neither UTF-8 nor UTF-16"),
        ('path,label\na.wav,yes\nb.wav,"no\nc.wav,no\n', ":3: a quote is opened there and never closed"),
        ('path,"label\n', ":1: a quote is opened there"),
        ('path,label\na.wav,"' + "x\n" * 70_000, ":2: cannot be read as a table"),
        ("path,label\na.wav," + "x" * (1 << 20), ":2: a line of more than 1048576 characters"),
        ("path,label\n" + 'a,"b\n",' * (1 << 18), ":2: a row of more than 1048576"),
        ('{"path": "a", "file": "b", "label": "x"}', ":1: which column is the path"),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence(tmp_path, text, what):
    with pytest.raises(KwsError, match=what) as error:
        rows(written(tmp_path, text))
    assert "clips.csv" in str(error.value) and len(str(error.value)) < 700


def test_no_file(tmp_path):
    for path, what in (
        (tmp_path / "a", "does not exist"),
        (tmp_path, "a folder"),
        (tmp_path / "a\0b", "cannot be read"),
    ):
        with pytest.raises(KwsError, match=what):
            rows(path)


def test_lines_that_are_no_objects_are_left_out(tmp_path):
    lines = ['{"path": "a.wav", "label": "yes"}', "", "{", "[1]", '"x"', "nan", "{}", '{"path": "b", "text": "a b"}']
    lines += ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '{"label": "yes", "path": "a.wav"}']
    found = rows(written(tmp_path, "\n".join(lines)))
    assert [line for line, _ in found] == [1, *range(3, 13)]
    assert found[0] == both(1) and found[-1] == both(12)
    reasons = [reason for _, reason in found[1:-1]]
    assert reasons.count("no JSON object in one line") == 7
    assert "no column says the path" in reasons[4] and "'text' holds whole sentences" in reasons[5]


@given(st.binary(max_size=200) | st.text(alphabet='path,label\n\r"{}[]:\t;\0\x04 a1', max_size=80).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_whatever_is_in_it_there_are_rows_or_a_sentence(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    for beginning in (b"", b"path,label\n", b'{"path": "a", "label": "b"}\n'):
        path.write_bytes(beginning + data)
        try:
            for row in tables.read(path, Columns()):
                assert row.refused or {"path", "label"} <= row.fields.keys()
        except KwsError as error:
            assert "fuzz.csv" in str(error)


def test_memory_does_not_grow_with_the_file(tmp_path):
    line = json.dumps({"path": "x" * 1000, "label": "yes"}) + "\n"
    path = written(tmp_path, line * 20_000)
    tracemalloc.start()
    started = time.process_time()
    assert sum(1 for _ in tables.read(path, Columns())) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6
    assert time.process_time() - started < 10


def test_fields():
    assert [text_of(value, "label") for value in (None, " a b ", 7)] == ["", "a b", "7"]
    for value in (True, 1.5, ["a"], {}):
        with pytest.raises(Unusable, match=r"its label is .*, which is no text"):
            text_of(value, "label")
    assert [seconds_of(value, "start") for value in (None, "", "1.5", 2, "1e-3", 0)] == [None, None, 1.5, 2.0, 0.001, 0]
    for value in ("1,5", -1, "nan", float("inf"), True, [], "1e9", 10**400, "x" * 10**6):
        with pytest.raises(Unusable, match=r"its start is .*, which is no number of seconds") as error:
            seconds_of(value, "start")
        assert len(str(error.value)) < 120
    names = ("TRAIN", "training", "dev", "Valid", "validation", "val", "test", "testing", "", None)
    assert [split_of(name) for name in names] == [
        *["training"] * 2, *["validation"] * 4, *["testing"] * 2, "", "",
    ]  # fmt: skip
    with pytest.raises(Unusable, match="its split is 'fold7'"):
        split_of("fold7")


def test_pieces():
    assert piece_of(None, None, None) == (None, None)
    assert piece_of(1.5, None, None) == (1.5, None)
    assert piece_of(None, None, 2.0) == (None, 2.0)
    assert piece_of(0.0, None, 2.0) == (0.0, 2.0)
    assert piece_of(0.1, 0.3, None) == (0.1, 0.2)
    assert piece_of(0.1, 0.3, 0.21) == (0.1, 0.2)
    assert piece_of(None, 0.3, None) == (None, 0.3)
    for values, why in (((1, 1, None), "not after"), ((2, 1, None), "not after"), ((0, 1, 2), "contradict")):
        with pytest.raises(Unusable, match=why):
            piece_of(*values)
    with pytest.raises(Unusable, match="its duration is 0"):
        piece_of(1.0, None, 0.0)
