"""No compiler has anything to say, no sanitizer finds anything, and where there is no compiler a sentence says so."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kws.native import builds, compiler
from kws.support.errors import KwsError
from tests.native.spotters import NETWORKS, need_compiler, sources, zig

HERE = Path(__file__).parent
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow")
STRICT += ("-Wdouble-promotion", "-Wundef", "-Wvla", "-Wstrict-prototypes", "-Wcast-align", "-Werror")
FILES = ("src/kws_model.c", "main.c", "library.c")


def command(name: str) -> tuple[str, ...]:
    """A compiler's command; skip where it is missing."""
    words = zig() if name == "zig" else (shutil.which(name),) if shutil.which(name) else None
    if words is None:
        pytest.skip(f"needs {name}")
    return words


@pytest.mark.parametrize("name", ["gcc", "clang", "zig", "arm-none-eabi-gcc"])
def test_no_compiler_has_anything_to_say(tmp_path, name):
    words = command(name)
    networks = NETWORKS if name == "gcc" else ("temporal", "fastgrnn low rank", "lstm", "pools")
    for network in networks:
        folder = sources(network)
        paths = [folder / file for file in (FILES if network == "temporal" else FILES[:1])]
        done = subprocess.run(
            [*words, *STRICT, f"-I{folder / 'src'}", "-c", *paths], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr


@pytest.mark.parametrize("network", ["temporal", "lstm", "pools"])
def test_sanitizers_find_nothing(tmp_path, network):
    need_compiler()
    folder, program = sources(network), tmp_path / "hostile"
    flags = ["-std=c99", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    words = [*command("gcc"), *flags, f"-I{folder / 'src'}", folder / "src/kws_model.c", HERE / "hostile.c"]
    built = subprocess.run([*words, "-o", program, "-lm"], capture_output=True, text=True)
    if built.returncode and "cannot find" in built.stderr:
        pytest.skip("needs the sanitizers' libraries")
    assert built.returncode == 0, built.stderr
    blocks = 1_000_000 if network == "temporal" else 100_000
    done = subprocess.run([program, str(blocks)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{blocks} blocks")
    assert " 0 words" not in done.stdout


def test_cc_is_used_where_it_is_set(monkeypatch):
    monkeypatch.setenv("CC", "gcc -pipe")
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    assert compiler.find_compiler().command == ("gcc", "-pipe")


def test_a_cc_that_does_not_run_is_named(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(KwsError, match="CC=no-such-compiler is set, but does not run"):
        compiler.find_compiler()


def test_ziglang_is_the_last_resort(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    if zig() is None:
        assert compiler.find_compiler() is None
    else:
        assert compiler.find_compiler().command == (sys.executable, "-m", "ziglang", "cc")
        assert compiler.find_compiler().crosses


def test_without_any_compiler_a_sentence_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(KwsError, match=r"host cannot be built: there is no C compiler.*kws\[native\]"):
        compiler.build([], tmp_path, "host", tmp_path / "x.so")
    with pytest.raises(KwsError, match="wasm cannot be built: it takes the package ziglang"):
        compiler.build([], tmp_path, "wasm", tmp_path / "x.wasm")


def test_what_a_compiler_says_is_handed_on(tmp_path):
    need_compiler()
    (tmp_path / "a.c").write_text("int f(void) { return nonsense; }\n")
    with pytest.raises(KwsError, match=r"could not compile; it says:\n(.|\n)*nonsense"):
        compiler.build([tmp_path / "a.c"], tmp_path, "host", tmp_path / "a.so")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("wasm", "kws_model.wasm"),
        ("aarch64-linux", "libkws_model.so"),
        ("x86_64-windows", "kws_model.dll"),
        ("aarch64-macos", "libkws_model.dylib"),
        ("aarch64-linux-musl", "libkws_model.so"),
    ],
)
def test_names_of_libraries(target, name):
    assert compiler.file_name(target) == name


def test_another_processor(tmp_path):
    if zig() is None:
        pytest.skip("needs ziglang")
    library = builds.build_library(sources(), "aarch64-linux", tmp_path)
    head = library.read_bytes()[:20]
    assert head[:5] == b"\x7fELF\x02"
    assert head[18] == 183  # AArch64
    assert platform.machine() not in (tmp_path / builds.FACTS).read_text()
