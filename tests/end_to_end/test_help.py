"""The help of every command, its examples run as they stand, and the completion of shells."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from henderson.cli.help import HELP
from henderson.cli.main import cli, main
from oracles.animal_model import simulate_two_traits

BIN = Path(sys.executable).parent
EXAMPLES = [(name, example) for name, about in HELP.items() for example, _ in about.examples]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the examples begin from; all of them run in it, in order."""
    path = tmp_path_factory.mktemp("examples")
    simulate_two_traits(path)
    return path


def test_every_command_has_examples_that_begin_with_it() -> None:
    assert set(HELP) == set(cli.commands)
    for name, about in HELP.items():
        assert any(example.startswith(f"henderson {name} ") for example, _ in about.examples), name
        assert set(about.see) <= set(HELP)
        codes = [code if isinstance(code, int) else code[0] for code in about.codes]
        assert codes[0] == 0
        assert len(codes) == len(set(codes))


def test_examples_run(
    folder: Path, mpiexec: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    for _, example in EXAMPLES:
        words = shlex.split(example)
        target = None
        if ">" in words:
            words, (target,) = words[: words.index(">")], words[words.index(">") + 1 :]
        if words[0] == "mpiexec":
            command = [mpiexec, *words[1:3], str(BIN / words[3]), *words[4:]]
            assert subprocess.run(command, timeout=200, check=False).returncode == 0, example
            continue
        monkeypatch.setattr("sys.argv", words)
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        assert code == 0, f"{example}: {said.err}"
        if target is not None:
            assert said.out
            Path(target).write_text(said.out)
    left = (
        "demo/model.toml",
        "para.xml",
        "model.out/solutions.csv",
        "two/run.json",
        "fit/variances.json",
        "slurm/solve.sbatch",
    )
    assert [name for name in left if not Path(name).exists()] == []


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_help_tells_options_examples_and_exit_codes(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["henderson", name, "--help"])
    main()
    text = capsys.readouterr().out
    assert all(f"\n{title}:\n" in text for title in ("Options", "Examples", "Exit codes"))
    assert all(example in text for example, _ in HELP[name].examples)
    command = cli.commands[name]
    flags = [o for p in command.params if isinstance(p, click.Option) for o in p.opts]
    assert all(flag in text for flag in flags)
    assert max(len(line) for line in text.splitlines()) <= 110


def test_bash_completes_commands_and_options(bash: str, tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}

    def completed(*words: str) -> set[str]:
        line = " ".join(shlex.quote(w) for w in ("henderson", *words))
        script = (
            f"source <(henderson completion bash); COMP_WORDS=({line}); COMP_CWORD={len(words)}; compopt() {{ :; }}; "
            '_henderson_completion henderson; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run([bash, "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    assert completed("co") == {"compare", "completion", "convert"}
    assert {"--json", "--json-log"} <= completed("solve", "--js")
    assert completed("slurm", "m.toml", "--job", "") == {"ingest", "solve", "reml"}


@pytest.mark.parametrize(
    ("shell", "sign"), [("zsh", "#compdef henderson"), ("fish", "complete --no-files --command henderson")]
)
def test_other_shells_get_their_scripts(
    shell: str, sign: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["henderson", "completion", shell])
    main()
    script = capsys.readouterr().out
    assert sign in script
    assert f"_HENDERSON_COMPLETE={shell}_complete" in script
    if (program := shutil.which(shell)) is not None:
        (tmp_path / "script").write_text(script)
        subprocess.run([program, "-n", str(tmp_path / "script")], check=True)


def test_the_module_is_the_command() -> None:
    told = [
        subprocess.run([*command, "solve", "--help"], capture_output=True, text=True, check=True).stdout
        for command in ((BIN / "henderson",), (sys.executable, "-m", "henderson"))
    ]
    assert told[0] == told[1]
    assert told[0].startswith("Usage: henderson solve")
