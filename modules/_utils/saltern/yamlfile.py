"""Reading YAML that people write: whatever is wrong with it becomes Problems with file, line and column."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from saltern.errors import Problem, Problems

MAX_DEPTH = 100
"""Collections nested deeper than this are refused: libyaml's composer recurses on the C stack and would crash."""
MAX_NODES = 1_000_000
"""Values after aliases are followed; more than this is a mistake or an attack (a few lines can stand for billions)."""
MAX_INTEGER = 2**63

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """PyYAML's safe loader, in which a scalar that does not fit its tag is a YAML error and never another one."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return a node's value; PyYAML itself lets ValueError, IndexError and others of bad scalars escape."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
            raise _refused(node, f"does not fit its type: {error}") from error
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise _refused(node, "is an integer of more than 64 bits")
        return value


def load(path: str | Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, or raise Problems."""
    return parse(read_text(path), str(path))


def read_text(path: str | Path) -> str:
    """Return a file's text; a file that cannot be read, or holds no UTF-8 text, raises Problems."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Problems([Problem(str(path), error.strerror, "a file that can be read")]) from error
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at offset {error.start}"
        raise Problems([Problem(str(path), found, "text in UTF-8")]) from error
    except ValueError as error:
        raise Problems([Problem(str(path), str(error), "the path of a file")]) from error


def parse(text: str, name: str = "<text>") -> dict[str, Any]:
    """Return the mapping that a YAML text holds, or raise Problems that give its name, line and column."""
    loader = None
    try:
        _check_depth(text, name)
        loader = _Loader(text)
        node = loader.get_single_node()
        _check_root(node, name)
        if problems := list(_tree_problems(node, name)):
            raise Problems(problems)
        value: dict[str, Any] = loader.construct_document(node)
        return value
    except yaml.YAMLError as error:
        raise Problems([_syntax(error, name)]) from error
    except UnicodeEncodeError as error:
        raise Problems([Problem(name, error.reason, "text in UTF-8")]) from error
    finally:
        if loader is not None:
            loader.dispose()


def _refused(node: yaml.Node, why: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, why, node.start_mark)


def _at(name: str, mark: Any) -> str:
    return f"{name}:{mark.line + 1}:{mark.column + 1}" if mark is not None else name


def _syntax(error: yaml.YAMLError, name: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
    return Problem(_at(name, mark), what, "YAML: see the indentation, quotes and colons here and on the line above")


def _check_depth(text: str, name: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                where = _at(name, event.start_mark)
                raise Problems([Problem(where, f"{depth} levels", f"at most {MAX_DEPTH} levels of nesting")])
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_root(node: yaml.Node | None, name: str) -> None:
    accepted = "a mapping of keys to values (key: value lines)"
    if node is None:
        raise Problems([Problem(name, "empty file", accepted)])
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else node.value
        raise Problems([Problem(_at(name, node.start_mark), kind, accepted)])


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _tree_problems(root: yaml.Node, name: str) -> Iterator[Problem]:
    """Yield a problem for each repeated key, and for aliases that make the tree endless, too deep or too large."""
    todo = [(root, False)]
    entered: set[int] = set()
    sizes: dict[int, tuple[int, int]] = {}
    while todo:
        node, left = todo.pop()
        if left:
            below = [sizes.get(id(child), (0, 0)) for child in _children(node)]
            sizes[id(node)] = (1 + sum(size for size, _ in below), 1 + max((depth for _, depth in below), default=0))
        elif id(node) not in entered:
            entered.add(id(node))
            yield from _repeated_keys(node, name)
            todo.append((node, True))
            todo.extend((child, False) for child in reversed(_children(node)))
        elif id(node) not in sizes:
            yield Problem(_at(name, node.start_mark), "an alias inside its own anchor", "aliases of finished values")
    size, depth = sizes[id(root)]
    if size > MAX_NODES or depth > 2 * MAX_DEPTH:
        found = f"{size} values, {depth} levels once aliases are followed"
        yield Problem(name, found, f"at most {MAX_NODES} values and {2 * MAX_DEPTH} levels")


def _repeated_keys(node: yaml.Node, name: str) -> Iterator[Problem]:
    first: dict[tuple[str, str], int] = {}
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if not isinstance(key, yaml.ScalarNode):
            yield Problem(_at(name, key.start_mark), "a list or a mapping", "a plain word as a key")
        elif (key.tag, key.value) in first:
            line = first[key.tag, key.value]
            yield Problem(_at(name, key.start_mark), key.value, f"each key once: this one is on line {line} already")
        else:
            first[key.tag, key.value] = key.start_mark.line + 1
