"""Options as fields of a record, and by their names: how one is defined, what is given for it, and what errors say.

`Config` is that record (config.py). The constructor's values come from code; what comes from elsewhere (Gunicorn's
settings, the environment, a file) names its source, which an error then names, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, field
from typing import Any

from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.rules import Rule

__all__ = ["DOCS", "Options", "section"]

# Where an error sends those whose name it has no guess for.
DOCS = "see docs/settings.md"


def section(title: str) -> Callable[..., Any]:
    """A maker of fields that stand under one heading in the documentation."""

    def option(default: Any, rule: Rule, meaning: str, unit: str = "", *, secret: bool = False) -> Any:
        metadata = {"rule": rule, "meaning": meaning, "unit": unit, "section": title}
        if isinstance(default, (list, dict)):
            return field(default_factory=default.copy, metadata=metadata)
        return field(default=default, metadata=metadata, repr=not secret)

    return option


class Options:
    """The options that are the fields of one record."""

    def __init__(self, items: Iterable[Field[Any]]) -> None:
        self._items = {item.name: item for item in items}
        self.rules: dict[str, Rule] = {name: item.metadata["rule"] for name, item in self._items.items()}

    def check_all(self, options: Mapping[str, Any], source: str) -> dict[str, Any]:
        """The options that are given, as the record holds them; None is no value where it means nothing else.

        Raises `ConfigError` for the first that is unknown, or has a value that it can't have.
        """
        checked = {}
        for name, value in options.items():
            if name not in self._items:
                raise self.unknown(name, value, source)
            if self.is_given(name, value):
                checked[name] = self.take(self._items[name], value, source)
        return checked

    def settle(self, config: object) -> None:
        """Have a record that was just made hold what each of its values is taken for. Raises `ConfigError`."""
        for name, item in self._items.items():
            value = getattr(config, name)
            if value is item.default and value != "":
                # Most are, and a default is what it would be taken for. An empty text may stand for what is missing.
                continue
            taken = self.take(item, value)
            if taken is not value:
                object.__setattr__(config, name, taken)

    def check_value(self, name: str, value: Any, source: str = "") -> Any:
        """The value as the record holds it, None being the default where it means nothing else.

        Raises `ConfigError`.
        """
        if name not in self._items:
            raise self.unknown(name, value, source)
        return self.take(self._items[name], value, source)

    def take(self, item: Field[Any], value: Any, source: str = "") -> Any:
        """The same for a field. Raises `ConfigError`."""
        rule: Rule = item.metadata["rule"]
        if value is None and not rule.check(None):
            value = _default(item)
        try:
            return rule.take(value)
        except (ValueError, TypeError):
            problem = f"option {item.name} = {self.shown(item.name, value)}{_from(source)}: must be {rule.allowed}"
        raise ConfigError(problem)

    def is_given(self, name: str, value: Any) -> bool:
        """Whether the value says something: None does only where it turns something off that is on by default."""
        return value is not None or (_default(self._items[name]) is not None and self.rules[name].check(None))

    def default(self, name: str) -> Any:
        """The value of an option that nobody has given."""
        return _default(self._items[name])

    def shown(self, name: str, value: Any) -> str:
        """The value for a line of the log: short, and hidden where it is a secret."""
        if name in self._items and not self._items[name].repr:
            return "..."
        text = repr(value)
        return text if len(text) <= 60 else text[:57] + "..."

    def unknown(self, name: str, value: Any, source: str, also: Iterable[str] = ()) -> ConfigError:
        """The error for a name that is no option: it says what may have been meant, one of `also` included."""
        near = self.nearest(name, also)
        hint = f"did you mean {near}?" if near else DOCS
        return ConfigError(f"option {name[:40]} = {self.shown(name, value)}{_from(source)}: unknown; {hint}")

    def nearest(self, name: str, also: Iterable[str] = ()) -> str:
        """The option, or the one of `also`, that a name may have been meant for; empty where none is near."""
        import difflib

        names = [*self._items, *also]
        begun = [option for option in names if option.startswith(f"{name}_")]
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.75) or begun[:1]
        return "".join(near)


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


def _from(source: str) -> str:
    return f" (from {source})" if source else ""
