"""The same model on an emulated Cortex-M4 and M7: the same words; instructions of a hop, flash, memory and stack."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kws.native import measure
from tests.native.spotters import audio, model, need_tool, sources

HERE = Path(__file__).parent / "cortex_m"
BOARDS = {
    "cortex-m4": ("mps2-an386", ["-mfpu=fpv4-sp-d16"]),
    "cortex-m7": ("mps2-an500", ["-mfpu=fpv5-d16"]),
}


def program(folder: Path, processor: str, output: Path, samples: np.ndarray) -> Path:
    """An image for a board, with the model in a folder and the samples that it is to hear."""
    gcc = need_tool("arm-none-eabi-gcc")
    listed = ",".join(map(str, samples))
    (output / "samples.h").write_text(f"static const int16_t samples[] = {{{listed}}};\n")
    image = output / f"{processor}.elf"
    flags = [f"-mcpu={processor}", "-mthumb", "-mfloat-abi=hard", *BOARDS[processor][1], "-std=c99", "-fno-math-errno"]
    flags += [measure.SMALL, "-ffunction-sections", "-Wl,--gc-sections", "-nostartfiles", "--specs=nano.specs"]
    words = [gcc, *flags, f"-I{output}", f"-I{folder / 'src'}", f"-T{HERE / 'mps2.ld'}"]
    built = subprocess.run(
        [*words, folder / "src/kws_model.c", HERE / "board.c", "-lm", "-o", image], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return image


def emulate(image: Path, processor: str) -> str:
    """What the board says."""
    qemu = need_tool("qemu-system-arm")
    words = [qemu, "-M", BOARDS[processor][0], "-kernel", image, "-icount", "shift=0", "-nographic", "-monitor", "none"]
    semihosting = ["-semihosting-config", "enable=on,target=native", "-serial", "none"]
    done = subprocess.run([*words, *semihosting], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr  # semihosting writes to the latter


def figure(said: str, what: str) -> int:
    """A number that the board says."""
    return int(re.search(rf"^(\d+) {what}$", said, re.MULTILINE)[1])


@pytest.mark.parametrize("processor", BOARDS)
def test_the_same_words(tmp_path, processor):
    need_tool("qemu-system-arm")
    samples = (audio(4.0)[0].numpy() * 32767).astype(np.int16)
    image = program(sources(), processor, tmp_path, samples)
    said = emulate(image, processor)
    assert figure(said, "instructions for two million") == pytest.approx(2_000_000, rel=1e-3)  # the clock is right

    (expected,), _ = model().detect(samples, model().start())
    heard = [tuple(map(int, row)) for row in re.findall(r"^(\d+) (\d+) (\d+) detection$", said, re.MULTILINE)]
    assert [(model().labels[label], sample) for label, sample, _ in heard] == [
        (d.word, round(d.time * model().sample_rate)) for d in expected
    ]
    assert len(heard) > 2
    confidences = np.array([bits for *_, bits in heard], np.uint32).view(np.float32)
    np.testing.assert_allclose(confidences, [d.confidence for d in expected], atol=1e-5)

    assert figure(said, "bytes of state") == model().state_bytes
    assert figure(said, "bytes of stack") < 2048  # as the README says
    assert 1_000 < figure(said, "instructions a hop") < 200_000
    sizes = subprocess.run([need_tool("arm-none-eabi-size"), image], capture_output=True, text=True, check=True)
    text, data, bss = map(int, sizes.stdout.splitlines()[1].split()[:3])
    print(f"{processor}: flash {text + data}, memory {data + bss}; {said}")
    assert text + data < 60_000
    assert data == 0  # nothing global that can be written to
    assert bss < model().state_bytes + 100


def test_flash_is_what_size_counts(tmp_path):
    folder = sources()
    taken = measure.footprint(folder)
    gcc, size = need_tool(measure.ARM), need_tool("arm-none-eabi-size")
    words = [gcc, "-std=c99", "-fno-math-errno", measure.SMALL, *measure.CORTEX_M4, "-c", folder / "src/kws_model.c"]
    subprocess.run([*words, "-o", tmp_path / "a.o"], check=True)
    counted = subprocess.run([size, tmp_path / "a.o"], capture_output=True, text=True, check=True).stdout
    text, data, bss = map(int, counted.splitlines()[1].split()[:3])
    assert taken.flash_bytes == text + data
    assert bss == 0
    assert "Cortex-M4" in taken.name
