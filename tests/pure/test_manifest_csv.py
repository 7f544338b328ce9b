"""CSV manifests: what is accepted, and the places named in errors."""

import io

import pytest

from batchswap.manifest import Options, Source, check
from batchswap.manifest.readers.csv import csv_sentence
from batchswap.tasks import Model, content_digest
from tests.pure.manifest_texts import NO_FILES, F, V, error_of, errors_of, rows_of


def test_a_row_with_everything() -> None:
    text = f"id,video,face,output,consent,tags,repeat,x_note,meta.shot\na,{V},{F},de/o.mp4,r-1,de; hero;de,,hi,7\n"
    (row,) = rows_of(text)
    assert (row.key, row.model, row.target, row.face, row.output) == ("a", Model.VIDEO, V, F, "de/o.mp4")
    assert (row.line, row.consent, row.tags) == (2, "r-1", ("de", "hero"))
    assert row.extra == (("x_note", "hi"), ("meta.shot", "7"))
    assert row.digest == content_digest(Model.VIDEO, V, F)


@pytest.mark.parametrize("video", ["video", "video_url", "target"])
@pytest.mark.parametrize("face", ["face", "new_face", "face_url", "source"])
@pytest.mark.parametrize("key", ["id", "key"])
def test_aliases(video: str, face: str, key: str) -> None:
    (row,) = rows_of(f"{key},{video},{face}\nk,{V},{F}\n")
    assert (row.key, row.target, row.face) == ("k", V, F)


@pytest.mark.parametrize(
    ("header", "cells", "model"),
    [
        ("video,face", f"{V},{F}", Model.VIDEO),
        ("image,face", f"{V},{F}", Model.IMAGE),
        ("image_url,face", f"{V},{F}", Model.IMAGE),
        ("video,face_1,face_0", f"{V},{F},{V}", Model.VIDEO_MULTI),
        ("image,face_0", f"{V},{F}", Model.IMAGE_MULTI),
        ("video,image,face,face_0", f",{V},,{F}", Model.IMAGE_MULTI),
    ],
)
def test_the_model_follows_from_the_fields(header: str, cells: str, model: Model) -> None:
    (row,) = rows_of(f"{header}\n{cells}\n")
    assert row.model is model


def test_faces_come_in_the_order_of_their_ids() -> None:
    (row,) = rows_of(f"video,face_10,face_2\n{V},{F},{V}\n")
    assert row.faces == ((2, V), (10, F))
    assert row.face == ""


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_separators_line_ends_and_bom(separator: str, end: str, bom: bytes) -> None:
    lines = [["id", "video", "face", "tags"], ["a", V, F, '"x;y"'], ["b", V, F, ""]]
    text = end.join(separator.join(line) for line in lines)
    rows = rows_of(bom + text.encode())
    assert [(row.key, row.tags, row.line) for row in rows] == [("a", ("x", "y"), 2), ("b", (), 3)]


def test_a_separator_inside_quotes_of_the_header_does_not_count() -> None:
    (row,) = rows_of(f'video;face;"x_a,b,c,d"\n{V};{F};1\n')
    assert row.extra == (("x_a,b,c,d", "1"),)


def test_empty_lines_comments_and_rows_of_empty_cells_are_skipped() -> None:
    text = f'#made by hand\n\nid,video,face\n  \n# a,"{V},{F}\n#\nb,{V},{F}\n,,\n"# c",{V},{F}\n'
    assert [(row.key, row.line) for row in rows_of(text)] == [("b", 7), ("# c", 9)]


@pytest.mark.parametrize("key", ["#1", "#1 intro", "##", "#!", "#"])
@pytest.mark.parametrize("first", ["id", "video"])
def test_a_row_that_begins_with_a_hash_is_a_row(key: str, first: str) -> None:
    rest = [name for name in ("id", "video", "face") if name != first]
    cells = {"id": key, "video": V if first == "id" else "#/v.mp4", "face": F}
    names = [first, *rest]
    text = f"{','.join(names)}\n{','.join(cells[name] for name in names)}\n"
    for more in ("", f'"b",{V},{F}\n' if first == "id" else f'"{V}",b,{F}\n'):
        assert (rows_of(text + more)[0].key, rows_of(text + more)[0].line) == (key, 2)


def test_a_line_that_is_neither_a_comment_nor_a_row_is_an_error() -> None:
    assert errors_of(f"id,video,face\n#later\nb,{V},{F}\n") == [
        '-:2: has 1 field; the header has 3 (a comment begins with "# ": a hash and a space)'
    ]


@pytest.mark.parametrize("sep", ["sep=;", '"sep=;"', "SEP=;", "sep=;;;", "# by Excel\nsep=;"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_that_names_the_separator(sep: str, bom: bytes, end: str) -> None:
    text = f'{sep}\nid;video;face;"x_a,b,c,d,e"\na;{V};{F};\n'.replace("\n", end)
    (row,) = rows_of(bom + text.encode(), None)
    assert (row.key, row.line) == ("a", 3 + sep.count("\n"))


@pytest.mark.parametrize(("sep", "separator"), [("\t", "\t"), ("\\t", "\t"), (",", ",")])
def test_separators_that_a_line_can_name(sep: str, separator: str) -> None:
    (row,) = rows_of(f"sep={sep}\n" + separator.join(("video", "face")) + "\n" + separator.join((V, F)) + "\n")
    assert row.line == 3


def test_a_quoted_field_may_span_lines_and_later_lines_keep_their_numbers() -> None:
    text = f'id,video,face,x_note\na,{V},{F},"one\n#two\n\n""three"""\nb,{V},{F},\n'
    rows = rows_of(text)
    assert [(row.key, row.line) for row in rows] == [("a", 2), ("b", 6)]
    assert rows[0].extra == (("x_note", 'one\n#two\n\n"three"'),)


def test_blanks_around_cells_are_dropped() -> None:
    (row,) = rows_of(f"id , video,face\n a , {V} ,{F} \n")
    assert (row.key, row.target, row.face) == ("a", V, F)


def test_without_an_id_the_content_is_the_key() -> None:
    (row,) = rows_of(f"video,face\n{V},{F}\n")
    assert row.key == row.digest == content_digest(Model.VIDEO, V, F)


def test_repeat_makes_rows_that_differ() -> None:
    rows = rows_of(f"id,video,face,repeat,output\na,{V},{F},3,x/o.mp4\n,{V},{F},2,\n")
    digest = content_digest(Model.VIDEO, V, F)
    assert [row.key for row in rows] == ["a", "a-2", "a-3", digest, f"{digest}-2"]
    assert [row.output for row in rows[:3]] == ["x/o.mp4", "x/o-2.mp4", "x/o-3.mp4"]
    assert rows[3].output == f"stdin/{digest}.mp4"
    assert rows[3].digest != rows[4].digest
    assert len({row.output for row in rows}) == 5


def test_a_header_alone_is_an_empty_batch() -> None:
    assert rows_of("id,video,face\n") == []
    assert check([Source("-", "csv")], None, io.BytesIO(b"id,video,face\n")) == {"stdin": 0}


HEADERS = [
    ("", "-: is empty"),
    ("\n\n# only words\n", "-: is empty: it has neither a header nor rows"),
    (f"{V},{F}\n", "-:1: has no header: the first line must name the columns, for example id,video,face,consent"),
    ("clips/a.mp4,anna.jpg\n", "-:1: has no header: the first line must name the columns"),
    ("1,2\n", "-:1: has no header: the first line must name the columns"),
    (",,\n", "-:1: has no header: the first line must name the columns"),
    ("ID,Video,FACE\n", '-:1: ID: is not a known field; did you mean "id"?'),
    ("Target video;New face\n", '-:1: Target video: is not a known field; did you mean "target"?'),
    ("id|video|face\n", '-:1: separates its columns with "|": use ",", ";" or tab'),
    ("vidoe,face,video\n", '-:1: vidoe: is not a known field; did you mean "video"?'),
    ("video,face,Consent\n", '-:1: Consent: is not a known field; did you mean "consent"?'),
    ("video,face,x_\n", "-:1: x_: is not a known field"),
    ("video,face,\n", "-:1: column 3: has no name in the header"),
    ("video,face,video\n", "-:1: video: occurs twice: columns 1 and 3"),
    ("video,face,x_a,x_a\n", "-:1: x_a: occurs twice: columns 3 and 4"),
    ("video,target,face\n", '-:1: target: means the same as the column "video"'),
    ("id,key,video,face\n", '-:1: key: means the same as the column "id"'),
    ("video,faces\n", "-:1: faces: is for YAML; in CSV, each face has its own column: face_0, face_1"),
    ("video,face_01\n", "-:1: face_01: is not a face: faces are numbered face_0 to face_999"),
    ("id,face\n", "-:1: video: is missing in the header: rows need a video"),
    ("id,video\n", "-:1: face: is missing in the header: rows need a face"),
    ('video,"face\n', "-:1: a quoted field that begins in this row is never closed"),
    ('video,"face"s\n', "-:1: has text after a closing quote"),
    ("video,fa\x1b[2Jce\n", "-:1: fa\\x1b[2Jce: is not a known field"),
]


def test_a_header_of_unknown_names_names_each() -> None:
    said = errors_of("ID,Video,FACE\n")
    assert [line.split(": ")[1] for line in said] == ["ID", "Video", "FACE", "video", "face"]


def test_only_the_first_of_many_unknown_columns_are_named() -> None:
    found = errors_of(",".join(["video", "face", *(f"column{n}" for n in range(16_000))]) + "\n")
    assert [line.split(": ")[1] for line in found[:-1]] == [f"column{n}" for n in range(20)]
    assert found[-1] == "-:1: has 15,980 more unknown columns"


@pytest.mark.parametrize(("text", "sentence"), HEADERS)
def test_headers_that_are_wrong(text: str, sentence: str) -> None:
    assert errors_of(text)[0].startswith(sentence)


ROWS = [
    (f",{F},,,", "-:2: video: is missing: a row needs a video (or an image)"),
    (f"{V},,,,", "-:2: face: is missing: a row needs a face (or several)"),
    (f"{V},{F},{F},,", "-:2: face_0: cannot be given together with face: use face, or face_0, face_1, …"),
    (f"{V},{F},", "-:2: has 3 fields; the header has 5"),
    (f"{V},{F},,,,,", "-:2: has 7 fields; the header has 5"),
    (f'{V},{F},,"a"b,', "-:2: has text after a closing quote"),
    (f'{V},{F},,"a', "-:2: a quoted field that begins in this row is never closed"),
    (f"{V},{F},,a\0,", "-:2: has a NUL byte: this is not a text file"),
    (f"{V},{F},,a\x1b[2J,", '-:2: id: has a control or invisible character (U+001B) in "a\\x1b[2J"'),
    (f"{V},{F},,\u202egpj,", "-:2: id: has a control or invisible character (U+202E)"),
    (f'{V},{F},,"a\nb",', "-:2: id: has a control or invisible character (U+000A)"),
    (f"{V},{F},,{'k' * 201},", "-:2: id: has 201 characters; at most 200 are allowed"),
    (f"{V},{F},,a,0", '-:2: repeat: must be a number of repetitions from 1 to 10,000, not "0"'),
    (f"{V},{F},,a,-1", "-:2: repeat: must be a number of repetitions"),
    (f"{V},{F},,a,1.5", "-:2: repeat: must be a number of repetitions"),
    (f"{V},{F},,a,99999999999999", "-:2: repeat: must be a number of repetitions"),
    (f"{V},{F},,a,٣", "-:2: repeat: must be a number of repetitions"),
]


@pytest.mark.parametrize(("cells", "sentence"), ROWS)
def test_rows_that_are_wrong(cells: str, sentence: str) -> None:
    assert error_of(f"video,face,face_0,id,repeat\n{cells}\n").startswith(sentence)


def test_video_and_image_in_one_row() -> None:
    assert error_of(f"video,image_url,face\n{V},{V},{F}\n") == (
        "-:2: image_url: cannot be given together with video: a row has one target"
    )


def test_consent_can_be_required() -> None:
    text = f"video,face,consent\n{V},{F},r\n{F},{V},\n{F},{F},  \n"
    assert len(rows_of(text)) == 3
    found = errors_of(text, options=Options(check_files=False, require_consent=True))
    sentence = "consent: is missing, but --require-consent requires it in every row"
    assert found == [f"-:3: {sentence}", f"-:4: {sentence}"]


def test_a_required_consent_without_a_column_is_one_error() -> None:
    found = error_of(f"video,face\n{V},{F}\n{F},{F}\n", options=Options(check_files=False, require_consent=True))
    assert found == "-:1: consent: is missing in the header, but --require-consent requires it in every row"


def test_as_many_tags_as_are_allowed() -> None:
    [row] = rows_of(f"video,face,tags\n{V},{F},{';'.join(map(str, range(50)))}\n")
    assert len(row.tags) == 50


@pytest.mark.parametrize("tags", ["a\x07", "t" * 101, ";".join(map(str, range(51)))])
def test_tags_that_are_wrong(tags: str) -> None:
    assert error_of(f"video,face,tags\n{V},{F},{tags}\n").startswith("-:2: tags: has")


def test_all_errors_come_at_once_and_by_their_lines() -> None:
    text = f'id,video,face\na,,{F}\n"b"x,{V},{F}\nc,ftp://x.y/z,{F}\nd,{V}\na\x07,data:x,\n'
    assert [error.split(": ")[0] for error in errors_of(text)] == ["-:2", "-:3", "-:4", "-:5", "-:6", "-:6", "-:6"]


def test_errors_name_the_column_as_it_is_written() -> None:
    assert error_of(f"video,new_face\n{V},ftp://x.y/z\n").startswith("-:2: new_face: ")


def test_very_many_errors_are_counted_and_not_kept() -> None:
    found = errors_of("video,face\n" + f"{V},ftp://x\n" * 5000)
    assert len(found) == 1001
    assert found[-1] == "-: and 4,000 more problems that are not listed"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"video,face\na,M\xfcller\n", "-:2: is not UTF-8: byte 0xfc at offset 14; save it as UTF-8"),
        (b"video,face\n" + b"#" * 100_000 + b"\n\xff", "-:3: is not UTF-8: byte 0xff at offset 100,012"),
        (("#" + "ü" * 100_000).encode() + b"\xff\n", "-:1: is not UTF-8: byte 0xff at offset 200,001"),
        (b"video,face\nabc\xc3", "-:2: is not UTF-8: the last character is incomplete"),
        ("video,face\n".encode("utf-16"), "-:1: is UTF-16, not UTF-8; save it as UTF-8"),
        (b"\xef\xbb\xbf", "-: is empty"),
        (b"video,face\n" + b"x" * 1_100_000, "-:2: the line is longer than 1,048,576 characters"),
        (b"video,face\na," + b"x" * 200_000, "-:2: has a field of more than 131,072 characters"),
    ],
)
def test_bytes_that_are_not_csv(data: bytes, sentence: str) -> None:
    assert errors_of(data, options=NO_FILES)[-1].startswith(sentence)


def test_comments_between_and_behind_quoted_rows_are_no_rows() -> None:
    text = f'id,video,face\n"a",{V},{F}\n# "a note"\n\nb,{V},{F}\n\n# "the end"\n\n'
    assert [(row.key, row.line) for row in rows_of(text)] == [("a", 2), ("b", 5)]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("unexpected end of data", "a quoted field that begins in this row is never closed"),
        ("field larger than field limit (131072)", "characters; perhaps a quote is never closed"),
        ("new-line character seen in unquoted field", "is not CSV: new-line character seen in unquoted field"),
    ],
)
def test_what_the_csv_module_says_is_said_in_words(message: str, words: str) -> None:
    assert csv_sentence(message).endswith(words)
