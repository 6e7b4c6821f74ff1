"""A vector of numbers as a numba type: what `float32` is to a scalar loop, sixteen lanes at a time.

LLVM vectorises loops over arrays only after it has proved or tested that they do not overlap, and keeps in memory what
a second loop goes through again. With vectors as values, a recurrence over time stays in a register and every operation
is one instruction, or two or four where the machine's registers are narrower.

numba's cache of compiled code does not notice changes in this file: touch the files that use it.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, overload, register_model

LANES = {types.float32: 16, types.float64: 8}  # 512 bits, the widest registers there are

# Contraction, a·b + c in one instruction, costs no accuracy.
FLAGS = ("contract", "nsz")


class Vector(types.Type):
    """LANES[dtype] numbers. It knows + - * / with vectors and with scalars, which take its dtype."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(f"Vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, _llvm(vector.dtype))


def lanes(array):
    """How many numbers of the array's dtype are in a vector."""
    raise NotImplementedError


@overload(lanes, inline="always")
def _lanes(array):
    count = LANES[array.dtype]
    return lambda array: count


@intrinsic
def load(typing, array, index):
    """The vector that begins at array[index]; the array's last axis is contiguous."""

    def codegen(context, builder, sig, args):
        pointer = _pointer(context, builder, sig.args, args)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, index), codegen


@intrinsic
def store(typing, array, index, vector):
    """Writes the vector from array[index] on."""

    def codegen(context, builder, sig, args):
        pointer = _pointer(context, builder, sig.args, args)
        builder.store(args[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, index, vector), codegen


@intrinsic
def fill(typing, like, scalar):
    """A vector like `like` whose lanes are all `scalar`."""

    def codegen(context, builder, sig, args):
        return _fill(context, builder, like, scalar, args[1])

    return like(like, scalar), codegen


@intrinsic
def where_negative(typing, x, a, b):
    """a in the lanes where x < 0, b in the others."""

    def codegen(context, builder, sig, args):
        x, a, b = args
        return builder.select(builder.fcmp_ordered("<", x, ir.Constant(x.type, None)), a, b)

    return a(x, a, b), codegen


@intrinsic
def add_to_exponent(typing, x, rounded):
    """x·2^m for float32 lanes, where m is the integer in the last bits of `rounded`."""

    def codegen(context, builder, sig, args):
        bits, m = (builder.bitcast(argument, _integers(x.dtype)) for argument in args)
        mantissa_bits = ir.Constant(bits.type, [23] * bits.type.count)
        return builder.bitcast(builder.add(bits, builder.shl(m, mantissa_bits)), _llvm(x.dtype))

    return x(x, rounded), codegen


@intrinsic
def lane_sum(typing, x):
    """The sum of the lanes, a scalar."""

    def codegen(context, builder, sig, args):
        vector = _llvm(x.dtype)
        name = f"llvm.vector.reduce.fadd.v{vector.count}f{x.dtype.bitwidth}"
        function_type = ir.FunctionType(vector.element, [vector.element, vector])
        reduce = cgutils.get_or_insert_function(builder.module, function_type, name)
        return builder.call(reduce, [ir.Constant(vector.element, 0.0), *args], fastmath=("reassoc",))

    return x.dtype(x), codegen


def by_lane(function):
    """The vector function that calls `function` on every lane."""

    @intrinsic
    def mapped(typing, x):
        def codegen(context, builder, sig, args):
            (vector,) = args
            for lane in range(LANES[x.dtype]):
                at = ir.Constant(ir.IntType(32), lane)
                value = builder.extract_element(args[0], at)
                value = context.compile_internal(builder, function, x.dtype(x.dtype), [value])
                vector = builder.insert_element(vector, value, at)
            return vector

        return x(x), codegen

    return mapped


def maximum(a, b):
    """Lane by lane; NaN where a is NaN."""
    raise NotImplementedError


class _Binary(AbstractTemplate):
    def generic(self, args, kws):
        vectors = [arg for arg in args if isinstance(arg, Vector)]
        if len(args) == 2 and vectors and len(set(vectors)) == 1:
            return signature(vectors[0], *args)


def _define_binary(function, instruction) -> None:
    """Let function(a, b) be `instruction(builder, a, b)`, where either may be a scalar."""

    def codegen(context, builder, sig, args):
        operands = [
            operand if isinstance(given, Vector) else _fill(context, builder, sig.return_type, given, operand)
            for operand, given in zip(args, sig.args, strict=True)
        ]
        return instruction(builder, *operands)

    infer_global(function)(type(f"_{function.__name__}", (_Binary,), {}))
    for operands in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(function, *operands)(codegen)


_define_binary(operator.add, lambda builder, a, b: builder.fadd(a, b, flags=FLAGS))
_define_binary(operator.sub, lambda builder, a, b: builder.fsub(a, b, flags=FLAGS))
_define_binary(operator.mul, lambda builder, a, b: builder.fmul(a, b, flags=FLAGS))
_define_binary(operator.truediv, lambda builder, a, b: builder.fdiv(a, b, flags=FLAGS))
_define_binary(maximum, lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), b, a))


def _llvm(dtype) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if dtype == types.float32 else ir.DoubleType(), LANES[dtype])


def _integers(dtype) -> ir.VectorType:
    return ir.VectorType(ir.IntType(32), LANES[dtype])


def _fill(context, builder, vector, scalar_type, scalar):
    scalar = context.cast(builder, scalar, scalar_type, vector.dtype)
    lanes = ir.Constant(_llvm(vector.dtype), ir.Undefined)
    first = builder.insert_element(lanes, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, lanes, ir.Constant(_integers(vector.dtype), None))


def _pointer(context, builder, types_of_args, args):
    """To array[index], read as a vector."""
    (array_type, index_types, *_), (array, index, *_) = types_of_args, args
    index = [
        context.cast(builder, i, index_type, types.intp)
        for i, index_type in zip(cgutils.unpack_tuple(builder, index), index_types, strict=True)
    ]
    array = context.make_array(array_type)(context, builder, array)
    item = cgutils.get_item_pointer(context, builder, array_type, array, index)
    return builder.bitcast(item, _llvm(array_type.dtype).as_pointer())
