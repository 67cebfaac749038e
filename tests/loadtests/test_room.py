"""What holds for the room as a whole."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import loadtests

ROOM = Path(loadtests.__file__).parent


def test_no_file_shadows_a_library() -> None:
    """Locust puts the locustfile's folder at the head of sys.path: trap 6."""
    names = {path.stem for path in ROOM.glob("*.py")} - {"__init__"}
    installed = {name.lower() for name in metadata.packages_distributions()}
    # `locustfile` is what Locust calls every user's own file: no library may depend on it.
    assert not names & set(sys.stdlib_module_names)
    assert not {name.lower() for name in names} & installed


def test_the_tool_itself_never_imports_locust() -> None:
    """gevent patches whatever process it meets."""
    program = (
        "import sys, loadtests.driver, loadtests.plan, loadtests.requestlog\n"
        "print({'locust', 'gevent', 'fastjsonschema', 'requests'} & set(sys.modules) or 'clean')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOM.parent, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "clean"
