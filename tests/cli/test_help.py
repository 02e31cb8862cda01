"""What is printed when somebody asks for help, or types something that cannot be meant."""

from __future__ import annotations

import re

import pytest

from segdata import formats
from segdata.cli import choices
from segdata.metrics.evaluate import METRICS
from segdata.models.registry import MODELS
from segdata.training.trackers import TRACKERS
from tests.helpers.command import run_segdata
from tests.helpers.documents import commands

COMMANDS = commands()


def help_of(command: str) -> str:
    return run_segdata(*command.split(), "--help", COLUMNS="80").out


def test_the_command_alone_shows_its_help() -> None:
    alone = run_segdata(COLUMNS="80")
    assert (alone.code, alone.err) == (0, "")
    assert alone.out == run_segdata("--help", COLUMNS="80").out
    group = run_segdata("manifest", COLUMNS="80")
    assert (group.code, group.err) == (0, "") and group.out == run_segdata("manifest", "--help", COLUMNS="80").out


def test_commands_stand_in_the_order_of_the_work_each_in_one_line() -> None:
    lines = run_segdata(COLUMNS="80").out.splitlines()
    work = ["list", "fetch", "prepare", "convert", "show", "train", "predict", "evaluate"]
    assert [name for name in COMMANDS if name in work] == work
    for name in COMMANDS:
        (line,) = (line for line in lines if re.match(rf"  {name} ", line))
        assert len(line) <= 80 and line.endswith(".") and not line.endswith("..."), line
    panels = [line for line in lines if re.fullmatch(r"\w[\w ]*:", line)]
    packs = ["Packs elsewhere:", "Packs of packs:"]
    assert panels == ["Options:", "Get datasets:", "Convert and look:", *packs, "Train and evaluate:"]


@pytest.mark.parametrize("command", [*COMMANDS, "manifest new", "manifest record"])
def test_help_has_no_word_of_python_and_fits(command: str) -> None:
    text = help_of(command)
    assert not re.search(r"<(int|str|float|path|bool|list|dir|file)\b|\bNone\b|\{\w+\}", text), text
    assert all(len(line) <= 80 for line in text.splitlines())
    options = re.findall(r"^  (?:-\w, )?--[\w-]+", text, re.MULTILINE)
    panels = re.findall(r"^\w[\w ]*:$", text, re.MULTILINE)
    assert panels[-1] in ("Output:" if len(options) > 10 else "Options:", "Commands:")
    assert re.search(r"\n  Example: segdata \S.*\n?$", text)


def test_help_lists_the_choices() -> None:
    def of_option(command: str, name: str) -> list[str]:
        (text,) = re.findall(rf"^  {name} (.*?)\n(?:  -|\n)", help_of(command), re.MULTILINE | re.DOTALL)
        return re.findall(r"[a-z][\w-]+", text)

    assert {*formats.targets(), "pack"} <= {*of_option("convert", "--to")}
    assert {*formats.FORMATS, *formats.RESULTS} <= {*of_option("convert", "--from")}
    assert {*formats.RESULTS, "pack"} <= {*of_option("evaluate", "--from")}
    assert {*METRICS} <= {*of_option("evaluate", "--metric")}
    assert {*formats.FORMATS} <= {*of_option("info", "--from")} & {*of_option("verify", "--from")}


def test_choices_are_those_of_the_tables() -> None:
    assert choices.formats() == list(formats.FORMATS)
    assert choices.targets() == ["pack", *dict.fromkeys(formats.targets())]
    assert choices.results() == list(formats.RESULTS)
    assert choices.metrics() == list(METRICS)
    assert choices.models() == list(MODELS)
    assert choices.trackers() == list(TRACKERS)


@pytest.mark.parametrize(
    ("words", "message", "fix"),
    [
        ("conver a b", "no such command 'conver'; did you mean convert?", "segdata --help"),
        ("zzz a b", "no such command 'zzz'", "segdata --help"),
        ("manifest new", "missing argument 'SOURCE...'", "segdata manifest new --help"),
        ("convert", "missing argument 'source'", "segdata convert --help"),
        ("convert a", "missing argument 'target'", "segdata convert --help"),
        ("convert a b c", "too many arguments: c", "segdata convert --help"),
        ("train a", "missing option '--output' / '-o'", "segdata train --help"),
        ("show a -o", "option '-o' requires an argument", "segdata show --help"),
        ("show a --splitt", "no such option: --splitt; did you mean --split?", "segdata show --help"),
        ("show a --zzz", "no such option: --zzz", "segdata show --help"),
        (
            "manifest new http://127.0.0.1/a.zip",
            "the format of files cannot be detected",
            "segdata manifest new --help",
        ),
        ("convert a b --limit x", "invalid value for '--limit': this is no whole number", "segdata convert --help"),
        ("convert a b --min-area x", "invalid value for '--min-area': this is no number", "segdata convert --help"),
        ("config --set a", "a setting is NAME=VALUE, not 'a'", "segdata config --help"),
    ],
)
def test_usage_errors_point_at_the_help_of_the_command(words: str, message: str, fix: str) -> None:
    outcome = run_segdata(*words.split())
    assert outcome.code == 2
    first, *_, last = outcome.err.splitlines()
    assert first == f"segdata: error[UsageError]: {message}"
    assert last.endswith(f" {fix}")
    start = 2 if words.startswith("manifest ") else 1
    asked = [*words.split()[:start], "--json", *words.split()[start:]]
    assert run_segdata(*asked).document["error"]["fix"].endswith(fix)


@pytest.mark.parametrize("verb", ["train a -o b", "config", "predict a b -o c"])
def test_a_setting_that_is_given_as_an_option_is_named_as_one(verb: str) -> None:
    refused = run_segdata(*verb.split(), "--learning-rate", "1")
    assert refused.code == 2 and "it is a setting: --set learning_rate=…" in refused.err
    assert "--set max_one_class=…" in run_segdata(*verb.split(), "--max-one-class", "0.5").err
    assert "setting" not in run_segdata(*verb.split(), "--zzz").err


def test_models_whose_names_are_close_are_named() -> None:
    refused = run_segdata("config", "unett")
    assert refused.code == 10 and "did you mean 'unet'?" in refused.err
    assert "did you mean" not in run_segdata("config", "zzz").err


def test_settings_are_listed_by_the_command_for_their_model() -> None:
    assert "segdata config unet lists all settings" in run_segdata("config", "unet", "--set", "los=ce").err
    assert "segdata config lists all settings\n" in run_segdata("config", "--set", "loss_=ce").err
    assert "lists all settings; --model unet has loss\n" in run_segdata("config", "--set", "loss=ce").err
    assert "such as crop=512,512" in run_segdata("config", "unet", "--set", "crop=64").err
