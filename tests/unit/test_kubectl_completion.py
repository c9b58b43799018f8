"""`kubectl fluxbase` is completed: asked as kubectl asks, and by bash for who types the program's name."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dev.peers import environment
from fluxbase_migrations.cli.completion import SHELLS
from fluxbase_migrations.cli.kubectl import completing
from tests.generate.commands import kubectl
from tests.support.completion import completed
from tests.unit.test_extras import WITHOUT

BIN = Path(sys.executable).parent
COMMANDS = [*kubectl().commands]
CONTEXTS = """
apiVersion: v1
kind: Config
current-context: here
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts:
- {name: here, context: {cluster: c, user: u}}
- {name: there, context: {cluster: c, user: u}}
"""


# The image has no program for it: nobody types there.
COMPLETER = [sys.executable, "-c", "from fluxbase_migrations.cli.kubectl.completing import main; main()"]


def asked(*words: str, directory: Path) -> tuple[list[str], int]:
    """The words that kubectl is told, without their descriptions, and the directive; nothing on stderr."""
    done = subprocess.run(
        [*COMPLETER, *words],
        env=environment({"KUBECONFIG": str(directory / "kubeconfig")}),
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    *lines, last = done.stdout.splitlines()
    return [line.partition("\t")[0] for line in lines], int(last.removeprefix(":"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "kubeconfig").write_text(CONTEXTS)
    (tmp_path / "migrations").mkdir()
    return tmp_path


TYPED = {
    "commands": ([""], COMMANDS, 4),
    "a command's beginning": (["res"], ["resume"], 4),
    "an option's beginning": (["create", "shop", "--from"], ["--from-file"], 4),
    "a common option behind the command": (["status", "--na"], ["--namespace"], 4),
    "a track": (["logs", "shop", "--track", ""], ["system", "user"], 4),
    "a form": (["list", "-o", "j"], ["json"], 4),
    "a directory is the shell's": (["create", "shop", "--from-file", ""], [], 16),
    "a kubeconfig is the shell's": (["list", "--kubeconfig", ""], [], 0),
    "contexts": (["status", "--context", ""], ["here", "there"], 4),
    "a context's beginning": (["--context", "th"], ["there"], 4),
    "a new set has no name yet": (["create", ""], [], 4),
    "a version is nobody's to guess": (["force", "shop", ""], [], 4),
    "no cluster answers: no names": (["status", ""], [], 4),
    "no cluster answers: no namespaces": (["list", "-n", ""], [], 4),
    "no words at all": ([], COMMANDS, 4),
}


@pytest.mark.parametrize(("words", "offered", "directive"), TYPED.values(), ids=TYPED.keys())
def test_kubectl_is_told_what_may_follow(
    words: list[str], offered: list[str], directive: int, directory: Path
) -> None:
    assert asked(*words, directory=directory) == (offered, directive)


def test_each_command_is_described() -> None:
    done = subprocess.run([*COMPLETER, "li"], capture_output=True, text=True, check=True)
    assert done.stdout == "list\tList the sets: versions of both tracks, ready or why not.\n:4\n"


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("kubectl-fluxbase res", {"resume"}),
        ("kubectl-fluxbase status --na", {"--namespace"}),
        ("kubectl-fluxbase status --context ", {"here", "there"}),
        ("kubectl-fluxbase create shop --from-file ", {"migrations/"}),
        ("kubectl-fluxbase status ", set()),
        ("kubectl-fluxbase completion ", set(SHELLS)),
    ],
)
def test_bash_completes_the_program_itself(line: str, offered: set[str], directory: Path) -> None:
    assert completed(line, directory, KUBECONFIG=str(directory / "kubeconfig")) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script_that_names_the_program(shell: str) -> None:
    done = subprocess.run(
        [BIN / "kubectl-fluxbase", "completion", shell], capture_output=True, text=True, check=True
    )
    assert "kubectl-fluxbase" in done.stdout


def test_names_that_take_too_long_are_not_offered() -> None:
    never = threading.Event()

    def hangs() -> list[str]:
        never.wait(60)
        return ["late"]

    assert completing.within(0.01, hangs) == []
    never.set()


def test_what_fails_offers_nothing_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def fails() -> list[str]:
        raise RuntimeError("a login helper")

    assert completing.within(60, fails) == []
    assert capfd.readouterr() == ("", "")


COMPLETE = "from fluxbase_migrations.cli.kubectl.completing import main; sys.argv = ['x', '']; main()"
SCRIPT = "from fluxbase_migrations.cli.kubectl.program import main; sys.exit(main(['completion', 'bash']))"


def test_without_the_extra_a_tab_is_silent_and_the_command_names_it() -> None:
    tab, script = (
        subprocess.run(
            [sys.executable, "-c", WITHOUT.format(missing=("argcomplete",), program=program)],
            capture_output=True,
            text=True,
            check=False,
        )
        for program in (COMPLETE, SCRIPT)
    )
    assert (tab.returncode, tab.stdout, tab.stderr) == (1, "", "")
    assert script.returncode == 1
    assert "pip install 'fluxbase-migrations[kubectl]'" in script.stderr
