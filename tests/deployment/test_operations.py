"""The pages for operators: a runbook for each alert, and no command, metric or file in them that there is not."""

import re
import shlex
import subprocess

import pytest
import stage
import yaml

PAGE = "docs/operations.md"
ALERTS = "config/prometheus/alerts.yml"


def alerts():
    groups = yaml.safe_load(stage.text(ALERTS))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def runbooks():
    """What stands below each heading of the section."""
    section = re.split(r"^## ", stage.text(PAGE).split("\n## Runbooks\n", 1)[1], flags=re.M)[0]
    parts = re.split(r"^### (\w+)\n", section, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def anchors(path):
    """What the headings of a page can be linked by."""
    headings = re.findall(r"^#+ (.+)$", stage.text(path), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alert_has_a_runbook_and_leads_to_it():
    assert len(alerts()) >= 12
    assert set(runbooks()) == set(alerts())
    for name, rule in alerts().items():
        page, anchor = rule["annotations"]["runbook"].split("#")
        assert anchor == name.lower() and anchor in anchors(f"docs/{page}"), name


def test_every_runbook_says_what_to_do():
    for name, text in runbooks().items():
        steps = re.findall(r"^\d\. ", text, re.M)
        assert len(steps) >= 3, name


def test_every_metric_in_a_runbook_is_one():
    known = set(re.findall(r"^\| `(\w+)` \|", stage.text("docs/metrics.md"), re.M))
    named = set(re.findall(r"`((?:igris|process)_\w+)`", stage.text(PAGE)))
    assert len(named) >= 8
    assert not named - known


@pytest.mark.parametrize("page", ["operations", "release"])
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^):]*?)(?:#([^)]*))?\)", stage.text(f"docs/{page}.md"))
    assert links
    for file, anchor in links:
        target = f"docs/{file or page + '.md'}"
        assert (stage.ROOT / target).is_file(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"
    for path in re.findall(r"`(config/[\w./-]+)`", stage.text(f"docs/{page}.md")):
        assert (stage.ROOT / path).exists(), path


def commands():
    """Each `igris …` of the page, in blocks and in lines, up to its first argument that is no word of a command."""
    found = set()
    for text in re.findall(r"`(?:runuser -u igris -- )?(igris(?:-load)? [^`]+)`|^(igris(?:-load)? .+?)(?:  |$)", stage.text(PAGE), re.M):
        words = shlex.split((text[0] or text[1]).split("<")[0].replace("…", ""), comments=True)
        words = words[: next((place for place, word in enumerate(words) if word in {"|", ">", "&&"}), len(words))]
        found.add(tuple(words))
    return sorted(found)


@pytest.mark.skipif(not stage.IGRIS, reason="IGRIS names no program")
def test_every_command_is_one():
    """Its words are commands and its flags are flags, by what the program's own help says."""
    tried = 0
    for program, *words in commands():
        if program != "igris":
            continue
        chain, said = [], help_of([])
        for word in words:
            if not re.search(rf"^  {re.escape(word)}(?: |$)", said, re.M):
                # Where commands are asked for, it must be one; elsewhere it is an argument.
                assert not re.search(r"^Usage: .*<COMMAND>", said, re.M) or word.startswith("-"), f"{chain}: there is no {word}"
                break
            chain.append(word)
            said = help_of(chain)
        for word in words[len(chain) :]:
            if word.startswith("--"):
                assert re.search(rf"{word.split('=')[0]}(?![\w-])", said), f"{words}: there is no {word}"
        tried += bool(chain)
    assert tried >= 15


def help_of(chain):
    return subprocess.run([stage.IGRIS, *chain, "--help"], capture_output=True, text=True, timeout=20).stdout
