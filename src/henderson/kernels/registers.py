"""Products of a small symmetric matrix with a vector, as one compiled routine for each width.

Kernels that take any width know it only when they run, and a compiler then goes element by element. A routine here is
made for its width when that is first asked for, and kernels call it by its address. Up to `WIDE` positions it keeps
the whole product in vector registers: x and what rows give to earlier positions lie in chunks of `LANES` positions, and
what a row sums up itself is added across lanes for `LANES` rows at once. That is written as instructions, because no
loop was found that the compiler turns into them. The order of sums depends on the width alone.

15 positions, one core of 2.7 GHz, all in the first cache: 26 ns packed and 16 ns whole, loops 73 and 61.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from llvmlite import ir

from henderson.kernels.jit import declare, instructions, routine, types

LANES = 8
WIDE = 64  # above, loops: longer code would not fit the instruction cache
FLAGS = ("contract",)

DOUBLE, SINGLE, INT32, INT64 = ir.DoubleType(), ir.FloatType(), ir.IntType(32), ir.IntType(64)
DOUBLES = ir.VectorType(DOUBLE, LANES)
ZEROS = ir.Constant(DOUBLES, [0.0] * LANES)


class Products(NamedTuple):
    """Addresses of the routines of a width.

    packed: y = P x, P being the lower triangle row by row; whole: y = scale A x, A all of a matrix; add: y += scale x.
    """

    packed: int
    whole: int
    add: int


def products_of(width: int, single: bool = False) -> Products:
    """Return the routines of a width, compiled on first use; `single`: packed matrices are float32."""
    return Products(_packed(width, single), _whole(width), _add_scaled(width))


@lru_cache
def _packed(width: int, single: bool) -> int:
    if width <= WIDE:

        def product(matrix: Any, x: Any, y: Any) -> None:
            _packed_in_registers(width, matrix, x, y)

    else:

        def product(matrix: Any, x: Any, y: Any) -> None:
            k = 0
            for t in range(width):
                total, value = 0.0, x[t]
                for u in range(t):
                    total += matrix[k] * x[u]
                    y[u] += matrix[k] * value
                    k += 1
                y[t] = total + matrix[k] * value
                k += 1

    element = types.float32 if single else types.float64
    return routine(types.void(*(types.CPointer(t) for t in (element, types.float64, types.float64))), product)


@lru_cache
def _whole(width: int) -> int:
    if width <= WIDE:

        def product(scale: float, matrix: Any, x: Any, y: Any) -> None:
            _whole_in_registers(width, scale, matrix, x, y)

    else:

        def product(scale: float, matrix: Any, x: Any, y: Any) -> None:
            for t in range(width):
                y[t] = 0.0
            for u in range(width):
                value = scale * x[u]
                for t in range(width):
                    y[t] += value * matrix[u * width + t]

    return routine(types.void(types.float64, *[types.CPointer(types.float64)] * 3), product)


@lru_cache
def _add_scaled(width: int) -> int:
    if width <= WIDE:

        def add(scale: float, x: Any, y: Any) -> None:
            _add_in_registers(width, scale, x, y)

    else:

        def add(scale: float, x: Any, y: Any) -> None:
            for t in range(width):
                y[t] += scale * x[t]

    return routine(types.void(types.float64, *[types.CPointer(types.float64)] * 2), add)


def _lanes(chunk: int, stop: int) -> list[bool]:
    """Return which lanes of a chunk are positions before `stop`."""
    return [LANES * chunk + lane < stop for lane in range(LANES)]


def _at(builder: Any, pointer: Any, k: int) -> Any:
    return builder.gep(pointer, [ir.Constant(INT64, k)], inbounds=True)


def _mask(lanes: Sequence[bool]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(1), LANES), [int(lane) for lane in lanes])


def _load(builder: Any, pointer: Any, lanes: Sequence[bool], *, single: bool = False) -> Any:
    """Return the elements from `pointer` on that are in `lanes`, zero in others, in double precision."""
    vector, align, name = (ir.VectorType(SINGLE, LANES), 4, "f32") if single else (DOUBLES, 8, "f64")
    pointer = builder.bitcast(pointer, vector.as_pointer())
    if all(lanes):
        found = builder.load(pointer, align=align)
    else:
        mask, zeros = _mask(lanes), ir.Constant(vector, [0.0] * LANES)
        kind = ir.FunctionType(vector, [pointer.type, INT32, mask.type, vector])
        load = declare(builder.module, kind, f"llvm.masked.load.v{LANES}{name}.p0v{LANES}{name}")
        found = builder.call(load, [pointer, ir.Constant(INT32, align), mask, zeros])
    return builder.fpext(found, DOUBLES) if single else found


def _store(builder: Any, value: Any, pointer: Any, lanes: Sequence[bool]) -> None:
    pointer = builder.bitcast(pointer, DOUBLES.as_pointer())
    if all(lanes):
        builder.store(value, pointer, align=8)
        return
    mask = _mask(lanes)
    kind = ir.FunctionType(ir.VoidType(), [DOUBLES, pointer.type, INT32, mask.type])
    store = declare(builder.module, kind, f"llvm.masked.store.v{LANES}f64.p0v{LANES}f64")
    builder.call(store, [value, pointer, ir.Constant(INT32, 8), mask])


def _spread(builder: Any, value: Any) -> Any:
    """Return a vector with `value` in all lanes."""
    first = builder.insert_element(ir.Constant(DOUBLES, ir.Undefined), value, ir.Constant(INT32, 0))
    return _shuffle(builder, first, first, [0] * LANES)


def _shuffle(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT32, LANES), lanes))


def _add(builder: Any, a: Any | None, b: Any | None) -> Any:
    """Return a + b, None being zero."""
    if a is None or b is None:
        return b if a is None else a
    return builder.fadd(a, b, flags=FLAGS)


def _sums(builder: Any, rows: list[Any]) -> Any:
    """Return the sums of the elements of `LANES` rows as a vector; their order is that of a binary tree."""
    distance = 1
    rows = rows + [ZEROS] * (LANES - len(rows))
    while distance < LANES:
        even = [lane if not lane & distance else LANES + lane - distance for lane in range(LANES)]
        odd = [lane + distance if not lane & distance else LANES + lane for lane in range(LANES)]
        pairs = list(zip(rows[::2], rows[1::2], strict=True))
        rows = [_add(builder, _shuffle(builder, a, b, even), _shuffle(builder, a, b, odd)) for a, b in pairs]
        distance *= 2
    return rows[0]


@instructions
def _packed_in_registers(_: Any, width: Any, matrix: Any, x: Any, y: Any) -> Any:
    """Set y = P x."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        n = signature.args[0].literal_value
        matrix, x, y = arguments[1:]
        single = signature.args[1].dtype == types.float32
        chunks = range(-(-n // LANES))
        vector = [_load(builder, _at(builder, x, LANES * c), _lanes(c, n)) for c in chunks]
        given: list[Any] = [None] * len(chunks)  # by later rows to positions before them
        totals = []  # of a row over positions up to its own
        for t in range(n):
            value, total = _spread(builder, builder.load(_at(builder, x, t))), None
            for c in range(t // LANES + 1):
                first = _at(builder, matrix, t * (t + 1) // 2 + LANES * c)
                row = _load(builder, first, _lanes(c, t + 1), single=single)
                total = _add(builder, total, builder.fmul(row, vector[c], flags=FLAGS))
                if not any(before := _lanes(c, t)):
                    continue
                if before != _lanes(c, t + 1):
                    row = builder.select(_mask(before), row, ZEROS)
                given[c] = _add(builder, given[c], builder.fmul(row, value, flags=FLAGS))
            totals.append(total)
        for c in chunks:
            own = _sums(builder, totals[LANES * c : LANES * (c + 1)])
            _store(builder, _add(builder, own, given[c]), _at(builder, y, LANES * c), _lanes(c, n))
        return context.get_dummy_value()

    return types.void(width, matrix, x, y), emit


@instructions
def _whole_in_registers(_: Any, width: Any, scale: Any, matrix: Any, x: Any, y: Any) -> Any:
    """Set y = scale A x for a symmetric A, row by row."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        n = signature.args[0].literal_value
        scale, matrix, x, y = arguments[1:]
        chunks = range(-(-n // LANES))
        totals: list[Any] = [None] * len(chunks)
        for u in range(n):
            value = _spread(builder, builder.load(_at(builder, x, u)))
            for c in chunks:
                row = _load(builder, _at(builder, matrix, u * n + LANES * c), _lanes(c, n))
                totals[c] = _add(builder, totals[c], builder.fmul(row, value, flags=FLAGS))
        factor = _spread(builder, scale)
        for c in chunks:
            total = builder.fmul(totals[c], factor, flags=FLAGS)
            _store(builder, total, _at(builder, y, LANES * c), _lanes(c, n))
        return context.get_dummy_value()

    return types.void(width, scale, matrix, x, y), emit


@instructions
def _add_in_registers(_: Any, width: Any, scale: Any, x: Any, y: Any) -> Any:
    """Set y += scale x."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        n = signature.args[0].literal_value
        scale, x, y = arguments[1:]
        factor = _spread(builder, scale)
        for c in range(-(-n // LANES)):
            here, lanes = _at(builder, y, LANES * c), _lanes(c, n)
            more = builder.fmul(factor, _load(builder, _at(builder, x, LANES * c), lanes), flags=FLAGS)
            _store(builder, _add(builder, _load(builder, here, lanes), more), here, lanes)
        return context.get_dummy_value()

    return types.void(width, scale, x, y), emit


def _call(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Call the routine at the first argument: arrays as pointers, to the element that a number after them tells."""
    values = []
    for kind, value in zip(signature.args[1:], arguments[1:], strict=True):
        if isinstance(kind, types.Array):
            if kind.layout != "C":
                raise TypeError(f"elements of {kind} do not follow each other in the order of rows")
            values.append(context.make_array(kind)(context, builder, value).data)
        elif kind == types.uint64:
            values[-1] = builder.gep(values[-1], [value])
        else:
            values.append(value)
    called = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    builder.call(builder.inttoptr(arguments[0], called.as_pointer()), values)
    return context.get_dummy_value()


@instructions
def packed_product(_: Any, address: Any, matrix: Any, k: Any, x: Any, at: Any, y: Any, to: Any) -> Any:
    """Set y[to:] = P x[at:], P packed from element `k` of `matrix` on; numbers are `index`; y is not x."""
    return types.void(address, matrix, types.uint64, x, types.uint64, y, types.uint64), _call


@instructions
def whole_product(_: Any, address: Any, scale: Any, matrix: Any, x: Any, at: Any, y: Any, to: Any) -> Any:
    """Set y[to:] = scale A x[at:] for a symmetric matrix (n, n); numbers are `index`; y is not x."""
    return types.void(address, types.float64, matrix, x, types.uint64, y, types.uint64), _call


@instructions
def add_scaled(_: Any, address: Any, scale: Any, x: Any, at: Any, y: Any, to: Any) -> Any:
    """Add scale x[at:] to y[to:]; numbers are `index`."""
    return types.void(address, types.float64, x, types.uint64, y, types.uint64), _call
