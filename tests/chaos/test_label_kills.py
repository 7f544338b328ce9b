"""SIGKILL at each step of a visible label: after another run, every result has one label, and is not paid twice."""

import io
import signal
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from batchswap.local.engine import draw_label
from batchswap.provenance import keys
from tests.chaos.shop import Shop
from tests.chaos.vendor import Pair, box

TEXT = "AI-generated"
POINTS = {
    "before a label": "batchswap.delivery.signer:Signer.sign@before#2",
    "after a label, before the file has its place": "batchswap.delivery.signer:Signer.sign@after#2",
    "after the file has its place": "batchswap.runner.collect.result_store:Results.take@after#2",
    "within the commit": "batchswap.ledger.signatures:record@after#2",
    "after the rename": "batchswap.runner.collect.result_store:publish@after#2",
}


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a clip of three bright frames."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(path, "w") as made:
        stream = made.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(3):
            made.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((240, 320, 3), 220, np.uint8), format="rgb24")))
        made.mux(stream.encode())
    return path.read_bytes()


def frames(data: bytes) -> NDArray[np.uint8]:
    with av.open(io.BytesIO(data), "r") as container:
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], np.uint8)


@pytest.mark.parametrize("is_signed", [True, False], ids=["signed", "labelled"])
@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS.keys())
def test_killed_while_a_label_is_drawn(
    old_shop: Shop, monkeypatch: pytest.MonkeyPatch, film: bytes, point: str, is_signed: bool, tmp_path: Path
) -> None:
    def content(pair: Pair) -> bytes:
        return film + box(b"free", "|".join(pair).encode())

    usual = old_shop.environment() | {"BATCHSWAP_VISIBLE_LABEL": TEXT}
    usual.pop("BATCHSWAP_NO_LABEL")
    if is_signed:
        keys.create(old_shop.folder / "keys", "test")
        usual["BATCHSWAP_SIGN"] = str(old_shop.folder / "keys")
    monkeypatch.setattr(Shop, "environment", lambda _: usual)
    monkeypatch.setattr(old_shop.vendor, "content", content)
    pairs = old_shop.rows(2)
    (tmp_path / "film.mp4").write_bytes(film)
    draw_label(tmp_path / "film.mp4", tmp_path / "once.mp4", TEXT)
    once = frames((tmp_path / "once.mp4").read_bytes())
    assert old_shop.process("--rate", "none", point=point).returncode == -signal.SIGKILL
    assert old_shop.run("--rate", "none").exit_code == 0
    assert old_shop.vendor.accepted == dict.fromkeys(pairs, 1)
    received, found = old_shop.expected(pairs), old_shop.results()
    assert found.keys() == received.keys()
    for name, sha256 in found.items():
        assert np.array_equal(frames((old_shop.folder / "out" / name).read_bytes()), once)
        sql = "select t.sha256, d.received_sha256, d.signed from deliveries d join tasks t on t.id = d.task_id"
        assert old_shop.select(f"{sql} where t.file = '{name}'") == [(sha256, received[name], int(is_signed))]
