"""``--cfg-options KEY=VALUE``: a value is what Python reads in it, and otherwise the text itself, letter by letter."""

import argparse
import ast
import re
from collections.abc import Iterator
from typing import Any

from openmsra.errors import ConfigError

NUMBER = re.compile(r'[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?')
WORDS = dict(true=True, false=False, none=None)
CLOSING = {'[': ']', '(': ')', '{': '}'}


class OptionAction(argparse.Action):
    """Collects ``KEY=VALUE`` arguments in a dictionary with dotted keys; see :func:`parse_value`.

    mmengine's ``DictAction`` drops the blanks of a value, splits it at commas and leaves dictionaries as text.
    """

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        options = dict(getattr(namespace, self.dest, None) or {})
        for argument in values:
            key, equals, value = argument.partition('=')
            if not equals or not key:
                parser.error(f'{option_string} {argument}: options are written KEY=VALUE.')
            try:
                options[key] = parse_value(value)
            except ConfigError as error:
                parser.error(f'{option_string} {argument}: {error}')
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> Any:
    """The value of an option.

    ``3``, ``1e-4``, ``true``, ``None`` and ``'quoted text'`` are what they look like. ``[a, b]``, ``(1, 2)``, ``{a: 1}`` and
    ``dict(a=1)`` are lists, tuples and dictionaries whose texts need no quotes unless they contain commas or brackets; ``1,2`` is
    a list of numbers. Everything else is text, with its blanks and commas.

    Raises:
        ConfigError: brackets or quotes that are not closed.
    """
    stripped = text.strip()
    if stripped.lower() in WORDS:
        return WORDS[stripped.lower()]
    if NUMBER.fullmatch(stripped):
        return ast.literal_eval(stripped) if not re.fullmatch(r'[+-]?0\d+', stripped) else int(stripped)
    if stripped[:1] in ("'", '"') and stripped[-1:] == stripped[:1] and len(stripped) > 1:
        return _literal(stripped, stripped[1:-1])
    if stripped[:1] in CLOSING or (stripped.startswith('dict(') and stripped.endswith(')')):
        return _container(stripped)
    parts = stripped.split(',')
    if len(parts) > 1 and all(NUMBER.fullmatch(part.strip()) for part in parts):
        return [parse_value(part) for part in parts]
    return text


def _literal(text: str, otherwise: Any) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return otherwise


def _container(text: str) -> Any:
    if text.startswith('dict('):
        return dict(_pairs(text[5:-1], '='))
    if text[-1] != CLOSING[text[0]] or len(text) < 2:
        raise ConfigError(f"'{text[0]}' is not closed; put text that begins with a bracket in quotes of its own.")
    if text[0] == '{':
        return dict(_pairs(text[1:-1], ':'))
    values = [parse_value(part.strip()) for part in _split(text[1:-1], ',')]
    return tuple(values) if text[0] == '(' else values


def _pairs(text: str, sign: str) -> Iterator[tuple[str, Any]]:
    for part in _split(text, ','):
        key, *value = _split(part, sign, 1)
        if not value:
            raise ConfigError(f"'{part.strip()}' has no '{sign}'.")
        yield _literal(key.strip(), key.strip()), parse_value(value[0].strip())


def _split(text: str, sign: str, most: int = -1) -> list[str]:
    """Split outside brackets and quotes; an empty text, and what follows a last comma, is nothing."""
    parts, open_brackets, quote, start = [], [], '', 0
    for position, letter in enumerate(text):
        if quote:
            quote = '' if letter == quote else quote
        elif letter in '\'"':
            quote = letter
        elif letter in CLOSING:
            open_brackets.append(CLOSING[letter])
        elif open_brackets and letter == open_brackets[-1]:
            open_brackets.pop()
        elif letter == sign and not open_brackets and len(parts) != most:
            parts.append(text[start:position])
            start = position + 1
    if open_brackets or quote:
        raise ConfigError(f"'{(open_brackets or [quote])[-1]}' is missing in {text}.")
    rest = text[start:]
    return [*parts, rest] if rest.strip() else parts
