"""Sentences for names that do not exist: the nearest valid names and, for a ``type=``, the import that is missing."""

import ast
import difflib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.registry import Registry

PACKAGE = Path(__file__).resolve().parent
SHOWN = 40  # names that a sentence can list


def nearest(name: str, candidates: Iterable[str], count: int = 3, cutoff: float = 0.55) -> list[str]:
    """The ``count`` candidates most similar to ``name`` (1 is equal), best first; upper and lower case count as equal."""
    by_lower = {str(candidate).lower(): str(candidate) for candidate in candidates}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=cutoff)]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """'Did you mean a or b?', or the valid names themselves where none is near."""
    candidates = sorted({str(candidate) for candidate in candidates})
    near = nearest(name, candidates)
    if near:
        return f'Did you mean {" or ".join(near)}?'
    if len(candidates) > SHOWN:
        return f'Nothing is near it among {len(candidates)} names, such as {", ".join(candidates[:3])}.'
    return f'Valid names: {", ".join(candidates)}.' if candidates else 'No name is valid here.'


@cache
def registered_in_source() -> dict[str, str]:
    """Class name -> the package (of a miniature, the module) to import for it, read off the sources; nothing is imported."""
    packages = {}
    for path in sorted(PACKAGE.glob('[!.]*/**/*.py')):
        room, *_ = parts = path.relative_to(PACKAGE).with_suffix('').parts
        package = '.'.join(('openmsra', *parts)) if room == 'miniatures' else f'openmsra.{room}'
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and any(
                'register_module' in ast.unparse(decorator) for decorator in node.decorator_list
            ):
                packages[node.name] = package
    return packages


def unresolved_type_message(key: str, root: 'Registry') -> str:
    """Why ``type='key'`` cannot be built from the registry tree below ``root``, and what to change."""
    scope, _, name = key.rpartition('.')
    ours = registered_in_source()
    message = f"type='{key}' is not registered as a {root.name}. "
    if scope in ('', 'openmsra') and name in ours:
        return message + f"It is part of {ours[name]}: add custom_imports = dict(imports=['{ours[name]}']) to the config."
    siblings = [f'{child}.{name}' for child, registry in root.children.items() if name in registry.module_dict]
    if not scope and siblings:
        return message + f'Names of sibling libraries take their prefix: did you mean {" or ".join(siblings)}?'
    if scope not in ('', 'openmsra', *root.children):
        return message + _no_near_name(scope)
    if scope in root.children:
        registry = root.children[scope]
        registry.import_from_location()
        candidates = [f'{scope}.{other}' for other in registry.module_dict]
    else:
        candidates = [*root.module_dict, *(other for child in root.children.values() for other in child.module_dict), *ours]
    hint = ''
    near = nearest(key, candidates, count=1)
    if near and near[0] in ours and ours[near[0]] not in ('openmsra.engine', 'openmsra.common'):
        hint = f" ({near[0]} needs custom_imports = dict(imports=['{ours[near[0]]}']).)"
    return message + (f'Did you mean {" or ".join(nearest(key, candidates))}?{hint}' if near else _no_near_name(scope))


def _no_near_name(scope: str) -> str:
    if scope:
        return f"Nothing near it is registered in '{scope}'; is that library installed and named in custom_imports?"
    return "No registered name is near it; name the package that registers it in custom_imports = dict(imports=['...'])."
