"""Tensor and Parameter: immutable array values with a place in a graph."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from . import init, ops
from .checks import clean_name
from .errors import DtypeError, ImmutableError, LengthError, ShapeError, TraceError
from .graph.context import Location, current
from .graph.node import CutOff, Node, Spec, leaf
from .ops import apply, core
from .ops.messages import no_gradient
from .protocols import call_function, call_ufunc
from .pytorch import missing

if TYPE_CHECKING:
    from .ops import TensorLike

__all__ = ["Parameter", "Tensor", "tensor"]

# What errors advise: how a step can compute without the values, which are not known while it is traced.
LOOK = ", and read values outside of the step, by states(xs)"
COMPUTE = f"compute with functions of tinygrad_rnn{LOOK}"
CHOOSE = "use tr.where(condition, a, b), which computes both branches"
LOGIC = "use tr.min or tr.max of numbers, such as tr.max(condition.astype(float))"


_Operator: TypeAlias = "Callable[[Tensor, TensorLike], Tensor]"


def _operator(primitive: ops.Primitive) -> tuple[_Operator, _Operator]:
    """The methods of an operator, for a tensor as the left and as the right operand."""

    def left(self: Tensor, other: TensorLike) -> Tensor:
        return apply(primitive, (self, other))

    def right(self: Tensor, other: TensorLike) -> Tensor:
        return apply(primitive, (other, self))

    return left, right


class Tensor:
    """An immutable array value that knows its node in a computation graph.

    Make a tensor with :func:`tensor`. Every operation on tensors makes a new tensor, and records how
    the new tensor was computed.

    Attributes
    ----------
    data : numpy.ndarray
        The values, read-only.
    grad : Tensor or None
        Sum of the gradients that `backward` has computed, for a leaf that requires a gradient; may be set to None.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ("_node", "_grad", "__weakref__")
    __array_priority__ = 1000
    _node: Node
    _grad: Tensor | None

    def __init__(self, node: Node) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        raise missing("Tensor", name, "a tensor")

    # -- data and name ----------------------------------------------------------------------

    @property
    def data(self) -> npt.NDArray[Any]:
        """The values, as a read-only array.

        The array is outside the graph: a result computed from the array gets no gradient, and drawings
        show no cut. Use `data` to look at values, and :meth:`detach` to stop a gradient.
        """
        value = self._concrete("data")
        value.flags.writeable = False  # set on the array itself, so that no view of the array can be made writeable
        return value.view()

    @data.setter
    def data(self, value: Any) -> None:
        raise ImmutableError("the data of a tensor cannot be set; make a new tensor, or use a Parameter, whose data can be set")

    def _concrete(self, asked: str, advice: str = COMPUTE) -> npt.NDArray[Any]:
        value = self._node.value
        if isinstance(value, Spec):
            name = self._node.name or self._node.operation or "a tensor"
            if current().recorder is not None:
                why, otherwise = (
                    "a compiled function is recorded once for many calls",
                    "do it outside of the function, with the returned value",
                )
                advice = advice.removesuffix(LOOK)
            else:
                why, otherwise = "a step is recorded once for all t", 'use mode="unroll"'
            raise TraceError(
                f"{asked} of {name} {self.shape} needs a value, but {why}, before there are values; {advice}, or {otherwise}"
            )
        looked = current().looked
        if looked is not None:
            looked.append(self._node)
        return value

    def _scalar(self, asked: str, advice: str = COMPUTE) -> Any:
        if self.size != 1:
            hint = "; a function of math takes one number, so use NumPy's or tinygrad_rnn's" if asked == "float()" else ""
            raise LengthError(f"{asked} needs a single element, but the tensor has shape {self.shape}{hint}")
        return self._concrete(asked, advice).item()

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self._node.value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return self._node.value.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._node.value.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self._node.value.shape, dtype=int))

    @property
    def node(self) -> Node:
        """The node of the graph that made this value."""
        return self._node

    @property
    def name(self) -> str | None:
        """The name given by :meth:`named`, or None."""
        return self._node.name

    def named(self, name: str, role: str | None = None, *, hidden: bool = False) -> Tensor:
        """Give the value the name that drawings, equations and errors use.

        Parameters
        ----------
        name : str
            The name. Control characters become visible ones; an empty name gives no name.
        role : str, optional
            Purpose of the value: one of ``tinygrad_rnn.graph.ROLES``.
        hidden : bool
            Whether the name is seen only by calls that ask for it, such as ``states(xs, names=["a"])`` and
            ``explain.gradient_flow(…, at="a")``. Drawings and equations show the value without the name.

        Returns
        -------
        Tensor
            This tensor. If this tensor has another name already, or was given to the step of a cell:
            a new tensor of equal value with the new name.
        """
        node = self._node
        name = clean_name(name)
        if hidden:
            node.hidden = name or None
            return self
        if name and (node.name not in (None, name) or node in current().given):
            return apply(ops.astype, (self,), {"dtype": self.dtype}).named(name, role)
        node.name = name or node.name
        if role is not None:
            node.role = role
        return self

    # -- gradients -------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether the value depends on a leaf that requires a gradient; walks the graph."""
        from .graph.node import ancestors

        return any(node.leaf is not None for node in ancestors([self._node]))

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has accumulated so far, or None."""
        return getattr(self, "_grad", None)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            value = core.as_tensor(value)
            if value.shape != self.shape:
                raise ShapeError(f"grad has shape {value.shape}, but must have the tensor's shape {self.shape}")
        self._grad = value

    def backward(self, gradient: TensorLike | None = None) -> None:
        """Compute the gradient of this value, and add it to ``.grad`` of every leaf that requires a gradient.

        Parameters
        ----------
        gradient : array_like, optional
            The cotangent, of this tensor's shape. It may be omitted for a scalar, and is then 1.

        Raises
        ------
        GradientError
            If the tensor is not a scalar and no cotangent was given, or if no leaf that requires a
            gradient is reached.
        """
        from .autodiff import backward

        backward(self, gradient)

    def detach(self) -> Tensor:
        """The same values as a new leaf: gradients stop here, and drawings show the cut.

        The detached tensor does not keep the graph before the cut alive, except inside the step of a cell.
        """
        if current().tracing:
            return apply(ops.detach, (self,))
        node = self._node
        return Tensor(Node(None, (), {"source": CutOff(node, keep=bool(current().given))}, node.value, current().location))

    # -- values ----------------------------------------------------------------------------

    def item(self) -> Any:
        """The value of a tensor of one element, as a Python number."""
        return self._scalar("item()")

    def numpy(self) -> npt.NDArray[Any]:
        """The values as a new array that may be written to."""
        return self._concrete("numpy()").copy()

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The values as an array outside the graph, for ``np.asarray(t)``, plots and NumPy's assertions."""
        self._concrete("np.asarray")
        return np.array(self.data, dtype=dtype, copy=copy)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(
                f"a tensor of shape {self.shape} has no single truth value: use .any() or .all(). To choose for each element, "
                "use tr.where instead of if, tr.maximum and tr.minimum instead of max and min, & and | instead of and and or"
            )
        return bool(self._concrete("the truth value (if, while, and, or, not, assert)", CHOOSE))

    def __float__(self) -> float:
        return float(self._scalar("float()"))

    def __int__(self) -> int:
        return int(self._scalar("int()"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.shape:
            raise DtypeError(f"an index must be an integer of shape (), not {self.dtype} of shape {self.shape}")
        return int(self._scalar("the use as an index", "index a tensor instead of a list: tr.stack(items)[i]"))

    def __len__(self) -> int:
        if not self.shape:
            raise LengthError("a tensor of shape () has no length: it is a single number")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise LengthError("a tensor of shape () cannot be iterated over: it is a single number")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self._concrete("in", CHOOSE) == np.asarray(value)).any())

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        value = self._node.value
        if isinstance(value, Spec):
            if current().recorder is not None:
                self._concrete("repr() or print()", "return it")
            return f"tensor(symbolic, {value})"
        shown = np.array2string(value, separator=", ", prefix="tensor(")
        dtype = "" if value.dtype in (np.float64, np.int64, bool) else f", dtype={value.dtype}"
        grad = ", requires_grad=True" if self._node.leaf is not None else ""
        return f"tensor({shown}{dtype}{grad})"

    def __format__(self, spec: str) -> str:
        return format(self._scalar("format()"), spec) if spec else str(self)

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node.leaf is None:
            return self
        make, facts = self.__reduce__()
        return make(*facts)

    def __reduce__(self) -> tuple[Any, ...]:
        node = self._node
        facts = node.name, node.role if node.primitive is None else "input", node.scope
        return _restored, (type(self), self.numpy(), node.leaf is not None, *facts)

    # -- indexing --------------------------------------------------------------------------

    __getitem__ = ops.getitem

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise ImmutableError(
            "a tensor cannot be written to: build the result with tr.where, tr.concatenate or tr.stack "
            "(collect the steps of a loop in a list, and stack them)"
        )

    # -- operators -------------------------------------------------------------------------

    __add__, __radd__ = _operator(ops.add)
    __sub__, __rsub__ = _operator(ops.subtract)
    __mul__, __rmul__ = _operator(ops.multiply)
    __truediv__, __rtruediv__ = _operator(ops.divide)
    __floordiv__, __rfloordiv__ = _operator(ops.floor_divide)
    __mod__, __rmod__ = _operator(ops.remainder)
    __pow__, __rpow__ = _operator(ops.power)
    __lt__, __gt__ = _operator(ops.less)[0], _operator(ops.greater)[0]
    __le__, __ge__ = _operator(ops.less_equal)[0], _operator(ops.greater_equal)[0]
    __matmul__ = ops.matmul

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return ops.matmul(other, self)

    def __divmod__(self, other: TensorLike) -> tuple[Tensor, Tensor]:
        return self // other, self % other

    def __rdivmod__(self, other: TensorLike) -> tuple[Tensor, Tensor]:
        return other // self, other % self  # type: ignore[return-value]

    def __neg__(self) -> Tensor:
        return apply(ops.negative, (self,))

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return apply(ops.absolute, (self,))

    def __invert__(self) -> Tensor:
        return apply(ops.logical_not, (_logical(self),))

    def __and__(self, other: TensorLike) -> Tensor:
        return apply(ops.logical_and, (_logical(self), _logical(other)))

    def __or__(self, other: TensorLike) -> Tensor:
        return apply(ops.logical_or, (_logical(self), _logical(other)))

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        if other is None or isinstance(other, str):
            return NotImplemented
        return apply(ops.equal, (self, other))  # type: ignore[arg-type]

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        if other is None or isinstance(other, str):
            return NotImplemented
        return apply(ops.not_equal, (self, other))  # type: ignore[arg-type]

    # -- methods that NumPy's arrays have ----------------------------------------------------

    sum, mean, var, std, prod = ops.sum, ops.mean, ops.var, ops.std, ops.prod
    max, min, argmax, argsort = ops.max, ops.min, ops.argmax, ops.argsort
    clip, cumsum, dot, take = ops.clip, ops.cumsum, ops.dot, ops.take
    broadcast_to, squeeze, swapaxes = ops.broadcast_to, ops.squeeze, ops.swapaxes

    @property
    def T(self) -> Tensor:
        """The transpose, with all axes in reverse order."""
        return ops.transpose(self)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """The same elements in another shape, as lengths or a tuple; see :func:`tinygrad_rnn.reshape`."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)  # type: ignore[arg-type]

    def flatten(self) -> Tensor:
        """All elements along a single axis."""
        return ops.reshape(self, self.size)

    ravel = flatten

    def transpose(self, *axes: int | Sequence[int] | None) -> Tensor:
        """The tensor with permuted axes, given one by one or as a tuple; see :func:`tinygrad_rnn.transpose`."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return ops.transpose(self, order)  # type: ignore[arg-type]

    def astype(self, dtype: npt.DTypeLike) -> Tensor:
        """The same values, converted to another dtype."""
        return apply(ops.astype, (self,), {"dtype": np.dtype(dtype)})

    def argmin(self, axis: int | None = None) -> npt.NDArray[Any]:
        """Positions of the smallest elements, as a plain array: they have no gradient."""
        return np.asarray(self._concrete("argmin()", "use (-x).argmax()").argmin(axis))

    def all(self, axis: int | None = None) -> npt.NDArray[Any]:
        """Whether all elements are true, as a plain array."""
        return np.asarray(self._concrete("all()", LOGIC).all(axis))

    def any(self, axis: int | None = None) -> npt.NDArray[Any]:
        """Whether any element is true, as a plain array."""
        return np.asarray(self._concrete("any()", LOGIC).any(axis))

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self._concrete("tolist()").tolist()

    # -- NumPy's own functions, called with tensors -----------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return call_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return call_function(function, args, options)


def _logical(x: TensorLike) -> Tensor:
    """An operand of & | ~, which are logical for tensors, not bitwise."""
    tensor = core.as_tensor(x)
    if tensor.dtype.kind != "b":
        raise DtypeError(f"& | ~ need booleans, not {tensor.dtype}; compare first, as in (a > 0) & (b > 0)")
    return tensor


core.tensor_class = Tensor


# Every operation reads these attributes; an attrgetter reads them in C, which is faster.
for _name, _path in {"node": "_node", **{name: f"_node.value.{name}" for name in ("shape", "dtype", "ndim")}}.items():
    setattr(Tensor, _name, property(attrgetter(_path), doc=getattr(Tensor, _name).__doc__))


def tensor(data: Any, requires_grad: bool = False, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Make a tensor from a copy of the data.

    Parameters
    ----------
    data : array_like
        Numbers or booleans.
    requires_grad : bool
        Whether `backward` is to accumulate a gradient in ``.grad``.
    dtype : dtype, optional
        Dtype of the tensor. If not given, the dtype that NumPy would choose.

    Raises
    ------
    DtypeError
        If the data are not numbers or booleans, if nested lists are ragged, or if integers or
        booleans were to require a gradient.

    Examples
    --------
    >>> tensor([[1, 2], [3, 4]], dtype="float32")
    tensor([[1., 2.],
            [3., 4.]], dtype=float32)
    """
    if isinstance(data, Tensor) and isinstance(data.node.value, Spec):
        made = Tensor(_recorded_anew(data, dtype))
        made._node.role = "input"
        if requires_grad:
            require_grad(made)
        return made
    if isinstance(data, Tensor):
        data = data.data
    elif isinstance(data, (list, tuple)) and any(isinstance(x, Tensor) for x in data):
        raise DtypeError("tr.tensor cannot take a list of tensors; join the tensors by tr.stack or tr.concatenate")
    made = Tensor(core.constant(core.as_array(data, dtype)))
    made._node.role = "input"
    if requires_grad:
        require_grad(made)
    return made


def _recorded_anew(x: Tensor, dtype: npt.DTypeLike | None) -> Node:
    """A new leaf for a tensor's values, inside a function that is recorded."""
    state = current()
    if state.recorder is None:
        x._concrete("tr.tensor()")
    assert state.recorder is not None
    attributes = {"dtype": x.dtype if dtype is None else np.dtype(dtype)}
    return state.recorder.aside(Node(ops.astype, (x.node,), attributes, Spec(x.shape, attributes["dtype"])))


class Parameter(Tensor):
    """A named leaf that requires a gradient and whose array can be rebound.

    Parameters
    ----------
    data : array_like or tuple of int
        The values; or a shape: a matrix is then filled with Glorot's random values, a vector with zeros.
    symbol : str, optional
        The parameter's symbol in equations and drawings, such as ``"U"``, ``"W_f"`` or ``"W^f"``.
    dtype : dtype, optional
        Dtype of the values. If not given: the dtype of `data` if that is an array of floats, otherwise float32.

    Raises
    ------
    DtypeError
        If the dtype is not a float dtype.

    Examples
    --------
    >>> W = Parameter((2, 3), symbol="W")
    >>> W.shape, W.dtype, W.name
    ((2, 3), dtype('float32'), 'W')

    Setting ``data`` rebinds the parameter. Results that were computed before keep the old array, so
    their gradients stay right:

    >>> b = Parameter([2.0], symbol="b")
    >>> y = (b * b).sum()
    >>> b.data = [5.0]
    >>> y.backward()
    >>> b.grad
    tensor([4.], dtype=float32)
    """

    __slots__ = ("_symbol",)
    _symbol: str | None

    def __init__(self, data: Any, symbol: str | None = None, dtype: npt.DTypeLike | None = None) -> None:
        if isinstance(data, tuple) and all(isinstance(n, (int, np.integer)) for n in data):
            data = init.glorot_uniform(data) if len(data) > 1 else init.zeros(data)
            value = init.cast(data, np.float32 if dtype is None else dtype)
        else:
            value = data if init.has_no_numbers(data) else core.as_array(data)
            if dtype is not None or value.dtype.kind in "iu" or not hasattr(data, "dtype"):
                value = init.cast(value, np.float32 if dtype is None else dtype) if value.dtype.kind in "fiu" else value
        if value.dtype.kind != "f":
            raise DtypeError(no_gradient("the parameter's value", value.dtype))
        value = value.astype(value.dtype.newbyteorder("="), copy=False)
        super().__init__(leaf(value, None, "parameter"))
        self.symbol = symbol
        require_grad(self)

    @property
    def symbol(self) -> str | None:
        """The parameter's symbol in equations and drawings; it may be set."""
        return self._symbol

    @symbol.setter
    def symbol(self, symbol: str | None) -> None:
        if symbol is not None and not isinstance(symbol, str):
            raise TypeError(f"the symbol of a parameter must be a string, not {symbol!r}; a shape is one tuple, such as (3, 5)")
        self._symbol = symbol
        if symbol is not None:
            self._node.name = clean_name(symbol) or None

    @property
    def data(self) -> npt.NDArray[Any]:
        """The values, as a read-only array; set it to rebind the parameter."""
        return super().data

    @data.setter
    def data(self, value: Any) -> None:
        symbolic = isinstance(value, Tensor) and isinstance(value.node.value, Spec)
        given = value if symbolic or isinstance(value, np.ndarray) else core.as_array(value)
        if given.dtype.kind not in "fiub":  # NumPy would convert dates and None to numbers
            raise DtypeError(f"{self._called()} has dtype {self.dtype}, and its data cannot be set to dtype {given.dtype}")
        if given.shape != self.shape:
            raise ShapeError(f"{self._called()} has shape {self.shape}, and its data cannot be set to shape {given.shape}")
        if symbolic:
            made, old = _recorded_anew(cast(Tensor, value), self.dtype), self._node
            made.name, made.role, made.location = old.name, old.role, old.location
            rebind(self, made)
        else:
            rebind(self, leaf_of(self, given.astype(self.dtype)))

    def _called(self) -> str:
        return f"parameter {self.name}" if self.name else "this parameter"

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        make, facts = self.__reduce__()
        return make(*facts)

    def __reduce__(self) -> tuple[Any, ...]:
        make, facts = super().__reduce__()
        return make, (*facts, self.symbol)

    def requires_grad_(self, requires_grad: bool = True) -> Parameter:
        """Freeze the parameter, or unfreeze it."""
        self._node.leaf = weakref.ref(self) if requires_grad else None
        return self


def require_grad(tensor: Tensor) -> None:
    """Make a leaf require a gradient, for `backward`.

    Raises
    ------
    DtypeError
        If the tensor is not of floats.
    """
    if tensor.dtype.kind != "f":
        raise DtypeError(no_gradient("the tensor", tensor.dtype))
    tensor.node.leaf = weakref.ref(tensor)


def leaf_of(parameter: Parameter, value: npt.NDArray[Any]) -> Node:
    """A new leaf of a parameter with another array and the same name."""
    old = parameter._node
    return leaf(value, old.name, "parameter", old.location)


def rebind(parameter: Parameter, node: Node) -> None:
    """Give a parameter another node, and so another array; the parameter stays frozen or unfrozen."""
    node.leaf = parameter._node.leaf
    parameter._node = node


def leave_grad(tensor: Tensor, value: npt.NDArray[Any] | None) -> None:
    """Set the gradient of a tensor to an array of its shape and dtype, or to None; the array must not be changed later."""
    tensor._grad = None if value is None else Tensor(leaf(value))


def _restored(
    kind: type[Tensor], value: Any, wants: bool, name: str | None, role: str | None, scope: str, symbol: str | None = None
) -> Tensor:
    """A leaf restored from a copy or a pickle; `wants` says whether the leaf requires a gradient."""
    made = kind.__new__(kind)
    Tensor.__init__(made, leaf(value, name, role, Location(scope)))
    if isinstance(made, Parameter):
        made._symbol = symbol
    if wants:
        require_grad(made)
    return made
