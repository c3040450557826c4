"""SQL statements as a connection knows them: what asking one took to find out is not found out again.

A cursor of psycopg looks up for each call how parameters are written, how columns are read and what they are called,
and it can be interrupted while it waits. A function asks the same few statements for as long as it lives, and what it
does not need of that is most of what asking costs it (docs/decisions/0028-statements-past-the-cursor.md).

How values look on the wire, which statements are prepared and in which order a pipeline answers remain psycopg's: so
cursors may be used beside this, on the same connection and in the same transaction.
"""

# psycopg opens its pipeline and its prepared statements to cursors alone
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Generic, LiteralString, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

from psycopg import Connection, Error, InterfaceError, OperationalError, Pipeline, postgres
from psycopg._pipeline_base import BasePipeline
from psycopg._preparing import Prepare
from psycopg.abc import Buffer, PQGen, Transformer
from psycopg.adapt import AdaptersMap, Dumper, PyFormat
from psycopg.adapt import Transformer as Adapter
from psycopg.errors import PipelineAborted, error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, Format
from psycopg.pq.abc import PGresult
from psycopg.types.string import BytesBinaryDumper

T = TypeVar("T")
MakesRow: TypeAlias = Callable[..., T]
"""What a row is made with, of its columns by name."""

_PARAMETER = re.compile(r"%\((\w+)\)s")
_DONE = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK})


class Answer(Generic[T]):
    """The answer to a statement. In a pipeline it comes with those of the statements around it, once one is read."""

    __slots__ = ("_conn", "_read", "_result")

    def __init__(self, connection: Connection, read: Callable[[PGresult], list[T]]) -> None:
        self._conn = connection  # of this name, because the pipeline takes an answer for a cursor
        self._read = read
        self._result: PGresult | None = None

    def rows(self) -> list[T]:
        """All rows. Raises psycopg.Error, that of an earlier statement too."""
        if self._result is None and self._conn._pipeline:
            self._conn.wait(_fetched(self._conn._pipeline))
        if self._result is None:
            raise InterfaceError("the statement was never sent")
        return self._read(self._result)

    def _check_results(self, results: Sequence[PGresult]) -> None:
        for result in results:
            _check(self._conn, result)

    def _set_results(self, results: Sequence[PGresult]) -> None:
        self._result = results[0]


class _Statement:
    """The text of a statement as libpq takes it. Parameters are named, and a percent sign is written twice.

    psycopg's prepared statements are known by `query` and `types`, those of the parameters that were written last.
    """

    def __init__(self, text: LiteralString) -> None:
        self._names = list(dict.fromkeys(_PARAMETER.findall(text)))
        numbers = {name: f"${number}" for number, name in enumerate(self._names, start=1)}
        self.query = _PARAMETER.sub(lambda parameter: numbers[parameter[1]], text).replace("%%", "%").encode()
        self.types: tuple[int, ...] = ()
        self.formats: Sequence[Format] = ()
        self._automatic = [PyFormat.AUTO] * len(self._names)
        self._makers: dict[MakesRow[Any], Callable[[Sequence[Any]], Any]] = {}

    def written(self, adapter: Transformer, values: Mapping[str, object]) -> Sequence[Buffer | None]:
        """The parameters as they are sent."""
        parameters = adapter.dump_sequence([values[name] for name in self._names], self._automatic)
        self.types, self.formats = adapter.types or (), adapter.formats or ()
        return parameters

    def read(self, adapter: Transformer, row: MakesRow[T], result: PGresult) -> list[T]:
        """The rows of a result."""
        adapter.set_pgresult(result)
        make = self._makers.get(row)
        if make is None:
            columns = [(result.fname(number) or b"").decode() for number in range(result.nfields)]
            make = self._makers[row] = _maker(row, columns)
        return adapter.load_rows(0, result.ntuples, make)


class _BytesInAList(Dumper):
    """Bytes as text, which is how lists are written: psycopg's own way asks a connection how, and errs without one."""

    oid = postgres.types["bytea"].oid

    def dump(self, obj: bytes) -> bytes:
        return rb"\x" + obj.hex().encode()


class _Known:
    """The statements that were asked on a connection, and how their values are written and read.

    Instants are read in UTC. The connection itself is not remembered, so that it ends with whoever made it.
    """

    def __init__(self, connection: Connection) -> None:
        adapters = AdaptersMap(connection.adapters)
        for dumper in (_BytesInAList, BytesBinaryDumper):  # what comes last writes bytes that stand alone
            adapters.register_dumper(bytes, dumper)
        self.adapter: Transformer = Adapter(adapters)
        self.statements: dict[str, _Statement] = {}


_known: WeakKeyDictionary[Connection, _Known] = WeakKeyDictionary()


def ask(
    connection: Connection, row: MakesRow[T], text: LiteralString, values: Mapping[str, object], *, binary: bool = False
) -> Answer[T]:
    """Ask a statement: at once or, in a pipeline, with the next that is read. `binary` is how its rows are sent.

    Needs: a connection in autocommit, or a transaction that has begun. Raises psycopg.Error.
    """
    known = _known.get(connection)
    if known is None:
        known = _known[connection] = _Known(connection)
    statement = known.statements.get(text)
    if statement is None:
        statement = known.statements[text] = _Statement(text)
    answer = Answer(connection, partial(statement.read, known.adapter, row))
    parameters = statement.written(known.adapter, values)
    format_ = Format.BINARY if binary else Format.TEXT
    (_queue if connection._pipeline else _run)(connection, statement, parameters, format_, answer)
    return answer


def together(connection: Connection, work: Callable[[], T]) -> T:
    """Run `work`, whose statements travel together until one is read; in the end all are sent, and waited for.

    Needs: a connection that is in no pipeline. Raises what `work` does, or else psycopg.Error.
    """
    connection.pgconn.enter_pipeline_mode()
    pipeline = connection._pipeline = Pipeline(connection)
    pipeline.level = 1  # one that is entered inside joins it
    try:
        try:
            done = work()
        except BaseException:
            with suppress(Error):  # mostly it is the one that is being raised
                connection.wait(_ended(pipeline))
            raise
        connection.wait(_ended(pipeline))
    finally:
        connection._pipeline = None
        if connection.pgconn.status != ConnStatus.BAD:
            connection.pgconn.exit_pipeline_mode()
    return done


def _queue(
    connection: Connection, statement: _Statement, parameters: Sequence[Buffer | None], format_: Format,
    answer: Answer[Any],
) -> None:  # fmt: skip
    """Let a statement travel with those around it."""
    pipeline, pgconn, query = cast("BasePipeline", connection._pipeline), connection.pgconn, cast("Any", statement)
    prepared, name = connection._prepared.get(query)
    if prepared is Prepare.NO:
        send = partial(pgconn.send_query_params, statement.query, parameters, statement.types)
    else:
        if prepared is Prepare.SHOULD:
            pipeline.command_queue.append(partial(pgconn.send_prepare, name, statement.query, statement.types))
            pipeline.result_queue.append(None)
        send = partial(pgconn.send_query_prepared, name, parameters)
    pipeline.command_queue.append(partial(send, param_formats=statement.formats, result_format=format_))
    key = connection._prepared.maybe_add_to_cache(query, prepared, name)
    pipeline.result_queue.append((cast("Any", answer), (key, prepared, name) if key else None))


def _run(
    connection: Connection, statement: _Statement, parameters: Sequence[Buffer | None], format_: Format,
    answer: Answer[Any],
) -> None:  # fmt: skip
    """Send a statement alone, and wait."""
    known, pgconn, query = connection._prepared, connection.pgconn, cast("Any", statement)
    prepared, name = known.get(query)
    if prepared is Prepare.NO:
        result = pgconn.exec_params(statement.query, parameters, statement.types, statement.formats, format_)
    else:
        if prepared is Prepare.SHOULD:
            _check(connection, pgconn.prepare(name, statement.query, statement.types))
        written = cast("Sequence[Buffer]", parameters)  # None is NULL, whatever the type says
        result = pgconn.exec_prepared(name, written, statement.formats, format_)
    key = known.maybe_add_to_cache(query, prepared, name)
    answer._check_results([result])  # first: of a connection that is lost nothing is to be tidied
    if key:
        known.validate(key, prepared, name, [result])
        connection.wait(known.maintain_gen(connection))
    answer._set_results([result])


def _fetched(pipeline: BasePipeline) -> PQGen[None]:
    """Send what is queued, and wait for all answers to it."""
    _give(pipeline)
    yield from pipeline._fetch_gen(flush=True)


def _ended(pipeline: BasePipeline) -> PQGen[None]:
    """Send what is queued with the end of the pipeline, and wait for all answers."""
    pipeline._enqueue_sync()
    yield from _fetched(pipeline)


def _give(pipeline: BasePipeline) -> None:
    """Give libpq what is queued, which it keeps to send it at once; psycopg would send each statement by itself."""
    while pipeline.command_queue:
        pipeline.command_queue.popleft()()


def _check(connection: Connection, result: PGresult) -> None:
    """Raises psycopg.Error for a result that is none."""
    if result.status in _DONE:
        return
    if result.status == ExecStatus.PIPELINE_ABORTED:
        raise PipelineAborted("an earlier statement has failed")
    if connection.pgconn.status == ConnStatus.BAD and result.error_field(DiagnosticField.SQLSTATE) is None:
        raise OperationalError(result.get_error_message())  # the connection was lost: nobody is left to say why
    raise error_from_result(result)


def _maker(row: MakesRow[T], columns: Sequence[str]) -> Callable[[Sequence[Any]], T]:
    """What makes a row of its columns: a named tuple of these very columns takes them as they stand."""
    if getattr(row, "_fields", None) == tuple(columns):
        return cast("Any", row)._make
    return lambda record: row(**dict(zip(columns, record, strict=True)))
