"""The same integers from every compiler, however it optimises, on every processor; nobody has anything to say."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kws.native import builds
from kws.native.folder import write_sources
from kws.spotter.quantized import quantized
from tests.native import integers
from tests.native.integers import hostile, totals_of
from tests.native.spotters import DECODER, audio, make_spotter, need_compiler, need_tool, zig
from tests.native.test_compilers import STRICT, command
from tests.native.test_cortex_m import BOARDS, emulate, figure, program

HERE = Path(__file__).parent
X86 = platform.machine() in ("x86_64", "AMD64")
PC = [
    ("gcc", ["-O0", "-march=native"]),
    ("gcc", ["-O3", "-march=native", "-ffp-contract=fast"]),
    ("gcc", ["-O3", "-march=native", "-ffp-contract=fast", "-DKWS_PORTABLE"]),
    ("gcc", ["-O2"]),
    ("gcc", ["-O3", "-mavx2"]),
    ("gcc", ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]),
    ("gcc", ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DKWS_PORTABLE"]),
    ("clang", ["-O3", "-march=native", "-ffp-contract=fast"]),
    ("clang", ["-O0", "-DKWS_PORTABLE"]),
    ("zig", ["-O3", "-march=native", "-ffp-contract=fast"]),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Sources of a network of every step, what it is to hear as drive.c reads it, and what the twin makes of that."""
    need_compiler()
    folder = tmp_path_factory.mktemp("made")
    own = integers.program("wide")
    integers.write(own, folder)
    features, resets = hostile(600, seed=3), np.array([1, 50, 51, 300])
    flags = np.zeros((600, 1), np.uint8)
    flags[resets] = 1
    (folder / "in").write_bytes(np.concatenate([flags, features[0].view(np.uint8)], axis=1).tobytes())
    return folder, totals_of(own, features, resets)[0]


def drive(made, words) -> None:
    """That a program makes of the input what the twin makes of it."""
    folder, expected = made
    done = subprocess.run([*words, folder / "in", folder / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    computed = np.fromfile(folder / "out", np.int32).reshape(expected.shape)
    assert np.array_equal(computed, expected)


def compile_driver(words, made, output, *more) -> None:
    """drive.c with the model."""
    sources = (made[0] / "src/kws_model.c", HERE / "drive.c")
    done = subprocess.run(
        [*words, "-std=c99", f"-I{made[0] / 'src'}", *sources, "-lm", "-o", output, *more],
        capture_output=True,
        text=True,
    )
    if "cannot find" in done.stderr:
        pytest.skip("needs the sanitizers' libraries")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "flags"), PC, ids=[" ".join((name, *flags)) for name, flags in PC])
def test_every_compiler(tmp_path, made, name, flags):
    if "-mavx2" in flags and not (X86 and "avx2" in Path("/proc/cpuinfo").read_text()):
        pytest.skip("needs AVX2")
    compile_driver([*command(name), *flags], made, tmp_path / "drive")
    drive(made, [tmp_path / "drive"])


def test_a_whole_spotter_and_hostile_samples(tmp_path):
    own = make_spotter("crnn", decoder=DECODER)
    write_sources(own, tmp_path, quantized(own, own.features(audio(2.0, streams=8)).detach().numpy()).program())
    flags = ["-std=c99", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{tmp_path / 'src'}"]
    built = subprocess.run(
        [*command("gcc"), *flags, tmp_path / "src/kws_model.c", HERE / "hostile.c", "-lm", "-o", tmp_path / "hostile"],
        capture_output=True,
        text=True,
    )
    if "cannot find" in built.stderr:
        pytest.skip("needs the sanitizers' libraries")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "hostile", "100000"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("100000 blocks")
    assert " 0 words" not in done.stdout


def test_in_node(tmp_path, made):
    node = need_tool("node")
    if zig() is None:
        pytest.skip("needs ziglang")
    module = builds.build_library(made[0], "wasm", tmp_path)
    drive(made, [node, HERE / "drive.mjs", module])


def test_on_aarch64(tmp_path, made):
    qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if qemu is None or zig() is None:
        pytest.skip("needs qemu-aarch64 and ziglang")
    compile_driver([*zig(), "-target", "aarch64-linux-musl", "-O3", "-static"], made, tmp_path / "drive")
    drive(made, [qemu, tmp_path / "drive"])


@pytest.mark.parametrize("processor", BOARDS)
def test_on_a_cortex_m(tmp_path, made, processor):
    """Samples of 16 bits here, which the board hears as features from -1 to 1."""
    need_tool("qemu-system-arm")
    own = integers.program("wide")
    own.network[0].factor[:] *= 20
    samples = np.random.default_rng(0).integers(-32768, 32768, 200 * integers.F).astype(np.int16)
    expected = totals_of(own, (samples / np.float32(32768)).reshape(1, -1, integers.F), np.array([], int))[0]
    digest = 2166136261
    for total in expected.ravel().tolist():
        digest = (digest ^ (total & 0xFFFFFFFF)) * 16777619 & 0xFFFFFFFF
    image = program(integers.write(own, tmp_path / "model"), processor, tmp_path, samples)
    assert figure(emulate(image, processor), "digest of integers") == digest
    listing = subprocess.run([need_tool("arm-none-eabi-objdump"), "-d", image], capture_output=True, text=True).stdout
    assert len(re.findall(r"\tsmlad\t", listing)) >= 8


@pytest.mark.parametrize("name", ["gcc", "clang", "zig", "arm-none-eabi-gcc"])
def test_no_compiler_has_anything_to_say(tmp_path, name):
    words = command(name)
    processor = ["-mcpu=cortex-m4", "-mfloat-abi=hard"] if name.startswith("arm") else ["-march=native"]
    for network, more in (("wide", processor), ("wide", ["-DKWS_PORTABLE"]), ("pools of features", processor)):
        integers.write(integers.program(network, clean=True), tmp_path)
        done = subprocess.run(
            [*words, *STRICT, *more, "-Isrc", "-c", "src/kws_model.c"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
