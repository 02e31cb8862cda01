"""How commands and options are shown: in panels, in the order of the work; and where usage errors point.

A command or option that is not named here is in the first panel.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from segdata.cli import choices
from segdata.errors import UsageError

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "Get datasets": ("demo", "list", "login", "logout", "fetch", "prepare", "manifest"),
    "Convert and look": ("convert", "info", "show", "view", "stats", "diff", "verify"),
    "Packs elsewhere": ("push", "pull", "cache"),
    "Packs of packs": ("labels", "merge", "split", "filter", "sample", "dedupe", "leakage", "apply"),
    "Train and evaluate": ("config", "train", "runs", "predict", "evaluate", "export"),
}
"""Panel → commands, in the order of the work."""

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "Options": (),
    "Categories and objects": ("labels", "classes", "keep", "drop", "min_area", "crowds", "no_crowds"),
    "Images": ("images", "images_dir", "exif", "recode", "max_pixels", "follow_links"),
    "New splits": ("split_by", "seed", "group"),
    "Invalid items": ("on_error", "strict", "fail_fast", "decode"),
    "Accounts and terms": ("accept_license", "accept_unverified", "accept_new_hash", "keep_session"),
    "Download": (
        *("mirror", "from_dir", "offline", "repair", "keep_archives", "allow_extra", "ignore_space"),
        *("limit_rate", "timeout", "retries", "retry_wait"),
    ),
    "Processes and locks": (
        *("workers", "jobs", "shard_samples", "hang_seconds", "batch_size", "device", "threads"),
        *("wait", "no_lock", "clean"),
    ),
    "Output": ("json", "quiet", "no_progress", "help"),
}
"""Panel → names of options."""

FEW = 10
"""A command with at most so many options has one panel."""


Function = TypeVar("Function", bound=Callable[..., Any])

_UNBROKEN = "\N{NON-BREAKING HYPHEN}"


class App(typer.Typer):
    """The application; its commands are shown as said here."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """See `typer.Typer.command`."""
        return super().command(name, **{"cls": Command, **options})


def only(app: typer.Typer, verb: str | None) -> typer.Typer:
    """The application with the options of one command; the others are there by name alone, which takes less than half
    of the time."""
    short = copy.copy(app)
    short.registered_commands = [
        command if _name(command) == verb else _without_options(command) for command in app.registered_commands
    ]
    return short


def _name(command: Any) -> str:
    return str(command.name or command.callback.__name__)


def _without_options(command: Any) -> Any:
    bare = copy.copy(command)
    bare.name, bare.help = _name(command), command.help or inspect.getdoc(command.callback)
    bare.callback = lambda: None
    return bare


class Command(TyperCommand):
    """A command whose options are shown in panels."""

    def get_help(self, ctx: Any) -> str:
        """The help, with no line broken at a hyphen of a name."""
        return str(super().get_help(ctx)).replace(_UNBROKEN, "-")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give an option whose value is being completed an empty one: the arguments before it are read only then."""
        if ctx.resilient_parsing and any(args[-1:] == [name] for name in self._with_value()):
            args = [*args, ""]
        return list(super().parse_args(ctx, args))

    def _with_value(self) -> list[str]:
        """Options that need a value."""
        options = [parameter for parameter in self.params if parameter.param_type_name == "option"]
        return [name for option in options if not getattr(option, "is_flag", False) for name in option.opts]

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """The arguments by their names."""
        names = [_shown(parameter) for parameter in self.params if parameter.param_type_name == "argument"]
        formatter.write_usage(ctx.command_path, " ".join(["[OPTIONS]", *names]))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The example, to be copied as one line."""
        formatter.write(f"\n  {self.epilog}\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then the options panel by panel."""
        parameters = self.get_params(ctx)
        has_panels = sum(parameter.param_type_name == "option" for parameter in parameters) > FEW
        rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{panel: [] for panel in OPTIONS}}
        for parameter in parameters:
            if (record := parameter.get_help_record(ctx)) is None:
                continue
            if parameter.param_type_name == "argument":
                rows["Arguments"].append((_shown(parameter), _words(record[1]).removesuffix("  [required]")))
            else:
                panel = _panel(str(parameter.name)) if has_panels else "Options"
                rows[panel].append((record[0], _words(record[1])))
        for panel, records in rows.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records, col_max=26)


class Group(TyperGroup):
    """The commands, in panels."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the work."""
        return [name for names in _in_panels(self.commands).values() for name in names]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each with the first line of its description."""
        width = max(map(len, self.commands))
        for panel, names in _in_panels(self.commands).items():
            with formatter.section(panel):
                rows = [(name.ljust(width), str(self.commands[name].help).partition("\n")[0]) for name in names]
                formatter.write_dl(rows)


def _panel(name: str) -> str:
    return next((panel for panel, names in OPTIONS.items() if name in names), "Options")


def _in_panels(names: Iterable[str]) -> dict[str, list[str]]:
    """Panel → those of the commands that it has; commands that no panel names are in the first."""
    named = [name for order in COMMANDS.values() for name in order]
    panels = {panel: [name for name in order if name in names] for panel, order in COMMANDS.items()}
    panels[next(iter(panels))] += [name for name in names if name not in named]
    return panels


def _shown(parameter: Any) -> str:
    """An argument as it is typed: in brackets where it may be left out, with dots where there may be several."""
    name: str = parameter.metavar or parameter.name.upper() + ("..." if parameter.nargs != 1 else "")
    return name if parameter.required else f"[{name}]"


def _words(text: str) -> str:
    """An option's help with the choices that there are, and ranges in words."""
    text = re.sub(r"\{(\w+)\}", lambda name: ", ".join(choices.NAMED[name[1]]()), text)
    text = re.sub(r"(\d[\d.]*)<=x<=(\d[\d.]*)", r"\1 to \2", text)
    return re.sub(r"x>=(\d[\d.]*)", r"\1 or more", text).replace("-", _UNBROKEN)


# ---------------------------------------------------------------------- usage errors


def of_parser(error: Any, arguments: Sequence[str]) -> UsageError:
    """What the parser of the command line refuses, as an error of ours."""
    message = error.format_message().replace(": Value error, ", ": ").rstrip(".")
    message = re.sub("Input should be a valid (integer|number), .*", lambda kind: _NO_NUMBER[kind[1]], message)
    message = message.replace(": Input should be", ": this should be")
    message = re.sub(
        r"got unexpected extra arguments?(?:\(s\))? \((.*)\)", r"too many arguments: \1", message, flags=re.I
    )
    message = re.sub(r" \(Possible options: (.*)\)", lambda names: f"; did you mean {_either(names[1])}?", message)
    message = re.sub(r"\. Did you mean (.*)\?", lambda names: f"; did you mean {_either(names[1])}?", message)
    ctx = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    usage = UsageError(message[:1].lower() + message[1:], fix=_setting(option, ctx))
    return pointed(usage, arguments, None if ctx is None else ctx.command_path)


def _setting(option: str | None, ctx: Any) -> str | None:
    """What to type where an unknown option of a command that takes `--set` is the name of a setting."""
    if option is None or ctx is None or all("--set" not in parameter.opts for parameter in ctx.command.params):
        return None
    name = option.lstrip("-").replace("-", "_")
    from segdata.training.config import TrainConfig

    is_one = any(name in TrainConfig.of(model).rules() for model in choices.models())
    return f"it is a setting: --set {name}=…" if is_one else None


_NO_NUMBER = {"integer": "this is no whole number", "number": "this is no number"}


def _either(names: str) -> str:
    return " or ".join(name.strip("'") for name in names.split(", "))


def pointed(error: UsageError, arguments: Sequence[str], command: str | None = None) -> UsageError:
    """The error with the help of its command as the last thing to do."""
    if command is None:
        command = " ".join(["segdata", *_verbs(arguments)])
    error.fix = f"{error.fix}\n          see {command} --help" if error.fix else f"{command} --help"
    return error


GROUPS: Mapping[str, tuple[str, ...]] = {"manifest": ("new", "record")}
"""Command → the commands that it has."""


def _verbs(arguments: Sequence[str]) -> list[str]:
    """The command that was typed, and the one of a group after it."""
    verb = verb_of(arguments)
    if verb is None:
        return []
    words = [word for word in arguments[list(arguments).index(verb) + 1 :] if not word.startswith("-")]
    return [verb, *(word for word in words[:1] if word in GROUPS.get(verb, ()))]


def verb_of(arguments: Sequence[str]) -> str | None:
    """The command that was typed, None where there is no such one."""
    word = next((word for word in arguments if not word.startswith("-")), "")
    return word if any(word in names for names in COMMANDS.values()) else None


def is_help(error: Any) -> bool:
    """Whether the parser's error is the help of commands of which none was named."""
    return type(error).__name__ == "NoArgsIsHelpError"
