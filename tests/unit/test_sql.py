"""
Values never become part of a statement, of SQL or of CQL: they are bound.

    connection.execute(SELECT, key)          a statement that reaches a database is a constant, or put together from constants
    def one(connection, statement, key)      a parameter `statement` that reaches it is looked at where that function is called

Found by reading the sources. A name is followed to what it is set to within its function; what can't be followed is refused, unless
EXCEPTIONS says why it is harmless.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

SOURCE: Final = Path(__file__).resolve().parents[2] / "src/zerosum"

DATABASE: Final = {"execute", "executemany", "executescript", "prepare", "create_prepared", "create_statement", "_prepare", "_bound"}
STATEMENT: Final = "statement"
"""The name of parameters that are followed to the callers."""


def is_other(receiver: str, name: str) -> bool:
    """A call of such a name that no database is meant with."""
    return (name == "prepare" and receiver == "load") or (name == "run" and not receiver.endswith("session"))


A_TABLE: Final = "a Table's own statement, and Tables are constants: settlement/cql/tables.py"
MADE_BEFORE: Final = "what was made of a statement, which was looked at where it was given"
A_PASSWORD: Final = "a development cluster's own, of hexadecimal digits: what a role is made with can't be bound"
A_ROLE: Final = "a role's name, quoted: it can't be bound"
A_GRANT: Final = "a table of the keyspace that services/cluster/access.py names, or a permission, which are constants: they can't be bound"
EXCEPTIONS: Final = {
    ("services/cluster/audit.py", "table.select"): A_TABLE,
    ("settlement/cql/history.py", "table.hours"): A_TABLE,
    ("settlement/cql/history.py", "table.newest"): A_TABLE,
    ("settlement/cql/history.py", "table.oldest"): A_TABLE,
    ("settlement/cql/store.py", "first.table.insert"): A_TABLE,
    ("settlement/cql/session.py", "rows"): "of Session.batch, which CqlRowStore alone calls, with a Table's own statement",
    ("settlement/cql/session.py", "acsylla.create_statement(statement)"): MADE_BEFORE,
    ("settlement/cql/session.py", "await connection.bound(statement, values)"): MADE_BEFORE,
    ("devcluster/cassandra.py", "passwords.items()"): A_PASSWORD,
    ("devcluster/cassandra.py", "admin.password"): A_PASSWORD,
    ("settlement/cql/grants.py", "quoted(access.user)"): A_ROLE,
    ("settlement/cql/grants.py", "quoted(role)"): A_ROLE,
    ("settlement/cql/grants.py", "await self._granted(access.user)"): "taken away from what is wanted, and no part of what is left",
    ("settlement/cql/grants.py", "wanted(self._keyspace, access)"): A_GRANT,
    ("settlement/cql/grants.py", "resource.strip('<>')"): A_GRANT,
    (
        "settlement/cql/schema.py",
        "settings.keyspace",
    ): "cluster.name, which the settings let be letters, digits and _: a name can't be bound",
    ("settlement/cql/schema.py", "replication"): "a whole number of the settings: an option of a keyspace can't be bound",
    ("settlement/schema.py", "migration.statements"): "of MIGRATIONS, a constant",
    ("services/record_comparison.py", "table.replace('\"', '\"\"')"): "a table's name out of the database, quoted: a name can't be bound",
    ("sim/embedded_record.py", "str(name)"): "a table's name out of the database that the simulation made",
}
FOLLOWED_CALLS: Final = {"enumerate", "zip", "reversed", "sorted", "list", "tuple"}

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Sink(NamedTuple):
    """The argument of that place in a call of that name is a statement. `module`: where such calls are, "" for all of them."""

    function: str
    place: int
    module: str = ""


class Found(NamedTuple):
    where: str
    line: int
    expression: str


class Module:
    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.tree = ast.parse(text)
        self.parents = {child: parent for parent in ast.walk(self.tree) for child in ast.iter_child_nodes(parent)}

    def functions_around(self, node: ast.AST) -> Iterator[Function]:
        while (node := self.parents.get(node)) is not None:  # type: ignore[assignment]
            if isinstance(node, Function):
                yield node

    def unfixed(self, node: ast.expr, sinks: set[Sink], seen: frozenset[str] = frozenset()) -> Iterator[ast.expr]:
        """What of an expression is not known to be a constant. Parameters become sinks of their own."""
        match node:
            case ast.Constant():
                return
            case ast.Name(id=name):
                if not name.lstrip("_").isupper() and name not in seen:
                    yield from self._unfixed_name(node, sinks, seen | {name})
            case ast.Attribute(attr=name, value=value):
                if not name.isupper():
                    yield from [node] if list(self.unfixed(value, sinks, seen)) else []
            case ast.JoinedStr(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.BoolOp(values=parts):
                for part in parts:
                    yield from self.unfixed(part, sinks, seen)
            case ast.FormattedValue(value=value) | ast.Subscript(value=value) | ast.Starred(value=value):
                yield from self.unfixed(value, sinks, seen)
            case ast.BinOp(left=left, right=right):
                yield from [*self.unfixed(left, sinks, seen), *self.unfixed(right, sinks, seen)]
            case ast.IfExp(body=body, orelse=other):
                yield from [*self.unfixed(body, sinks, seen), *self.unfixed(other, sinks, seen)]
            case ast.Call(func=ast.Attribute(attr="format" | "join", value=text), args=args, keywords=keywords):
                for part in [text, *args, *(keyword.value for keyword in keywords)]:
                    yield from self.unfixed(part, sinks, seen)
            case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
                yield from self.unfixed(element, sinks, seen)
            case ast.Call(func=ast.Name(id=name), args=args) if name in FOLLOWED_CALLS:
                for part in args:
                    yield from self.unfixed(part, sinks, seen)
            case _:
                yield node

    def _unfixed_name(self, node: ast.Name, sinks: set[Sink], seen: frozenset[str]) -> Iterator[ast.expr]:
        for function in self.functions_around(node):
            bound = [*self._bindings(function, node.id)]
            for value in bound:
                if value is None:
                    yield node
                else:
                    yield from self.unfixed(value, sinks, seen)
            if bound:
                return
            names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
            if node.id == STATEMENT and node.id in names and not isinstance(function, ast.Lambda):
                place = names.index(node.id) - (names[0] in ("self", "cls"))
                sinks.add(Sink(function.name, place, self.name if function.name.startswith("_") else ""))
                return
        yield node

    def _bindings(self, function: Function, name: str) -> Iterator[ast.expr | None]:
        """What the name is set to in the function, or what it runs over; None for what can't be followed."""
        for inner in ast.walk(function):
            match inner:
                case ast.Assign(targets=targets, value=value):
                    if any(name in names_of(target) for target in targets):
                        yield value
                case ast.AnnAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
                    if name in names_of(target):
                        yield value
                case ast.AugAssign(target=target, value=value):
                    if name in names_of(target):
                        yield value
                case (
                    ast.For(target=target, iter=value)
                    | ast.AsyncFor(target=target, iter=value)
                    | ast.comprehension(target=target, iter=value)
                ):
                    if name in names_of(target):
                        yield value
                case ast.withitem(optional_vars=target) if target is not None:
                    if name in names_of(target):
                        yield None

    def findings(self, sinks: set[Sink]) -> Iterator[Found]:
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
            receiver = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
            if is_other(receiver, name):
                continue
            for place in [sink.place for sink in sinks.copy() if sink.function == name and sink.module in ("", self.name)]:
                given = node.args[place : place + 1] or [keyword.value for keyword in node.keywords if keyword.arg == STATEMENT]
                for argument in given:
                    for part in self.unfixed(argument, sinks):
                        yield Found(self.name, part.lineno, ast.unparse(part))


def names_of(target: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def findings(modules: dict[str, str]) -> set[Found]:
    """Again and again, until no parameter is found to be a statement that was not known as one."""
    parsed = [Module(name, text) for name, text in modules.items()]
    sinks = {Sink(name, 0) for name in DATABASE}
    while True:
        known = len(sinks)
        found = {each for module in parsed for each in module.findings(sinks)}
        if len(sinks) == known:
            return found


MODULES: Final = {str(path.relative_to(SOURCE)): path.read_text() for path in sorted(SOURCE.rglob("*.py"))}


def test_every_statement_is_a_constant_or_put_together_from_constants() -> None:
    found = findings(MODULES)
    assert [each for each in sorted(found) if (each.where, each.expression) not in EXCEPTIONS] == []
    assert {(each.where, each.expression) for each in found} == set(EXCEPTIONS), "an exception that nothing needs is to go"


@pytest.mark.parametrize(
    "planted",
    [
        "def f(db, name): db.execute(f\"SELECT * FROM orders WHERE name = '{name.strip()}'\")",
        'def f(db, order): db.execute("SELECT * FROM orders WHERE id = %s" % order.id)',
        'def f(db, order): db.execute("SELECT * FROM orders WHERE id = " + str(order.id))',
        'def f(db, order): db.execute("DELETE FROM orders WHERE id = {}".format(order.id))',
        'def f(db, order):\n    text = f"SELECT {order.id}"\n    db.executemany(text, [])',
        'def f(db, request):\n    text = "SELECT 1"\n    text += request.query\n    db.execute(text)',
        'def one(db, statement): return db.execute(statement)\ndef f(db, request): one(db, f"SELECT {request.id}")',
        'class A:\n    def one(self, statement): return self.db.execute(statement)\ndef f(a, request): a.one(f"SELECT {request.id}")',
        'def f(db, request):\n    for column in request.columns:\n        db.execute(f"SELECT {column}")',
        'async def f(session, request): await session.create_prepared("SELECT " + request.id)',
        'def f(db, request): db.executescript(" ".join(part for part in request.parts))',
    ],
)
def test_a_value_within_a_statement_is_found(planted: str) -> None:
    assert findings({"planted.py": planted})


@pytest.mark.parametrize(
    "harmless",
    [
        'def f(db, key): db.execute("SELECT * FROM orders WHERE id = ?", (key,))',
        'TABLE = "orders"\ndef f(db, key): db.execute(f"SELECT * FROM {TABLE} WHERE id = ?", (key,))',
        'def f(db, key):\n    for table in ("orders", "trades"):\n        db.execute(f"SELECT * FROM {table}")',
        "def f(db, key, newest):\n    statement = NEWEST if newest else OLDEST\n    db.execute(statement, key)",
        'def one(db, statement): return db.execute(statement)\ndef f(db, key): one(db, "SELECT 1")',
    ],
)
def test_what_is_bound_or_constant_is_not(harmless: str) -> None:
    assert findings({"harmless.py": harmless}) == set()
