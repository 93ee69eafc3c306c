"""Primitives, and the function `apply`, through which every operation goes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from ..console import counted
from ..errors import DtypeError, ShapeError, TinygradError
from ..graph.context import NOWHERE, Location, current
from ..graph.node import NO_ATTRIBUTES, Node, Results, Spec
from .domains import Domain, Interval
from .dtypes import as_float, makes_floats, takes_integers_as_floats, widens_halves
from .facts import OPAQUE, Facts, check_facts
from .formula import Formula, check_formula, check_template
from .messages import explained, report_non_finite

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Part", "Primitive", "Sparse", "TensorLike", "apply", "elementwise", "primitive", "registry"]

TensorLike: TypeAlias = Union["Tensor", npt.ArrayLike]


class Sparse(NamedTuple):
    """A cotangent that is zero outside an index: the pullback of reading a slice of an array.

    Backward gathers all sparse cotangents of one node into a single `scatter`. Reading an array
    step by step then costs as much as reading the array once.
    """

    value: Tensor
    at: tuple[Any, ...]
    arrays: tuple[Tensor, ...]


class Part(NamedTuple):
    """The cotangent of one result of a node that has several results; `item` is the index of the result."""

    value: Tensor
    item: int


@dataclass(eq=False, repr=False)
class Primitive:
    """An operation: kernel, gradient rules, shape rule, domain, formula and facts.

    A primitive is made by :func:`primitive`, and is called like a function. Its docstring is that of
    the decorated function.

    Attributes
    ----------
    name : str
    kernel : callable
        ``kernel(*arrays, out=None, **attributes) -> array``. The kernel never changes its inputs.
    gradient : tuple of (callable or None), or callable
        One rule for each input, ``rule(g, y, *inputs, **attributes)``, in Tensor
        operations; None where the gradient is zero everywhere. A variadic primitive has
        one callable, ``rule(positions, g, y, *inputs, **attributes)``, which returns the
        cotangents of the inputs at these positions in order (None for an input without a gradient).
    shape : callable
        ``shape(*specs, **attributes) -> Spec``.
    domain : Domain
    formula : Formula
    arguments : tuple of str
        Names of the inputs; the last one starts with ``*`` if the primitive is variadic.
    named_arguments : tuple of str
        The same names without the variadic argument.
    attributes : frozenset of str
        Names of the static arguments.
    leading : callable or None
        ``leading(attributes, shapes) -> attributes``: the attributes with which a further leading axis
        of every input passes through to the output. The given `shapes` have that axis already. None if
        the axis passes through with unchanged attributes. The callable returns NotImplemented for
        attributes with which no axis can pass, such as an index with arrays. Inputs that broadcast
        together have equal rank in these shapes. `check_primitive` tests that the callable is right.
    view : callable or None
        ``view(attributes, shape) -> bool``: whether the kernel, called without ``out`` on an input of
        this shape, returns a view of the input, whatever its layout; None if it never does.
    facts : Facts
        Further facts about the operation. All code that asks for the kind of an operation reads them.
    ufunc : numpy.ufunc, optional
        NumPy's function that does the same as the kernel on floats, if there is one.
    c : str or mapping of str to str, optional
        The operation in C, for the native backend; see :func:`primitive`.
    cuts : callable, optional
        ``cuts(node, order)``: inputs that the rest of a graph reaches only behind a ``.detach()`` in the node, each
        with the detached value and the place of the cut.
    expand : callable, optional
        ``expand(nodes)``: replace the applications of this primitive by the operations that they are made of. The nodes
        are those of a graph, each after its inputs. Returned are replacements of all nodes that depend on this primitive.
    """

    name: str
    kernel: Callable[..., Any]
    gradient: tuple[Callable[..., Any] | None, ...] | Callable[..., Any]
    shape: Callable[..., Spec]
    domain: Domain
    formula: Formula
    arguments: tuple[str, ...]
    attributes: frozenset[str] = frozenset()
    leading: Callable[..., Mapping[str, Any]] | None = None
    view: Callable[..., bool] | None = None
    facts: Facts = OPAQUE
    ufunc: np.ufunc | None = None
    c: str | Mapping[str, str] | None = None
    cuts: Callable[[Node, Sequence[Node]], Mapping[int, tuple[Node, Location]]] | None = None
    expand: Callable[[Sequence[Node]], Mapping[Node, Node]] | None = None

    def __post_init__(self) -> None:
        self.named_arguments = tuple([name for name in self.arguments if not name.startswith("*")])

    @property
    def is_ufunc(self) -> bool:
        """Whether the kernel is a ufunc on floats, so that its result may overwrite an operand."""
        return self.ufunc is not None and self.ufunc.signature is None

    @property
    def elementwise(self) -> bool:
        """Whether each element of the result depends only on elements at the same position, after broadcasting."""
        return self.is_ufunc or self.facts.elementwise or bool(self.facts.signs)

    @property
    def symbol(self) -> str:
        """Text of the operation in drawings."""
        return self.facts.symbol or self.name

    def __call__(self, *inputs: TensorLike, **attributes: Any) -> Tensor:
        """Apply the primitive; see :func:`apply`.

        Raises
        ------
        TypeError
            If the number of inputs is wrong, or an attribute has an unknown name.
        """
        fewest = len(self.named_arguments)
        if len(inputs) != fewest and (len(inputs) < fewest or fewest == len(self.arguments)):
            takes = f"{counted(fewest, 'input')} ({', '.join(self.arguments)})"
            raise TypeError(f"{self.name} takes {takes}, but {len(inputs)} were given")
        if (attributes or self.attributes) and attributes.keys() != self.attributes:
            expected = ", ".join(sorted(self.attributes)) or "none"
            raise TypeError(f"{self.name} takes the attributes {expected}, but {', '.join(attributes) or 'none'} were given")
        return apply(self, inputs, attributes)

    def __reduce__(self) -> tuple[Any, ...]:  # a primitive exists only once: its copy is the primitive itself
        return _registered, (self.name,)

    def __repr__(self) -> str:
        return f"<primitive {self.name}({', '.join(self.arguments)})>"


registry: dict[str, Primitive] = {}
"""All primitives by name, including those of the user."""


def _registered(name: str) -> Primitive:
    return registry[name]


def elementwise(*specs: Spec) -> Spec:
    """Shape rule of an elementwise primitive: NumPy's broadcasting and promotion.

    Examples
    --------
    >>> import numpy as np
    >>> f4 = np.dtype("float32")
    >>> print(elementwise(Spec((3, 1), f4), Spec((4,), f4)))
    float32 (3, 4)
    """
    shapes, dtypes = [spec.shape for spec in specs], [spec.dtype for spec in specs]
    wide = [shape for shape in shapes if shape]  # NumPy's own functions are slow, and mostly all shapes and dtypes are equal
    shape = wide[0] if wide and wide.count(wide[0]) == len(wide) else np.broadcast_shapes(*shapes)
    return Spec(shape, dtypes[0] if dtypes.count(dtypes[0]) == len(dtypes) else np.result_type(*dtypes))


def elementwise_float(*specs: Spec) -> Spec:
    """Shape rule of an elementwise primitive whose result is of floats, for integers too."""
    shape, dtype = elementwise(*specs)
    return Spec(shape, as_float(dtype))


def primitive(
    kernel: Callable[..., Any] | None = None,
    *,
    gradient: tuple[Callable[..., Any] | None, ...] | Callable[..., Any],
    formula: str | Formula,
    shape: Callable[..., Spec] | None = None,
    domain: Domain | None = None,
    leading: Callable[..., Mapping[str, Any]] | None = None,
    view: Callable[..., bool] | None = None,
    facts: Facts = OPAQUE,
    floating: bool | None = None,
    accumulates: bool = False,
    c: str | Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Primitive]:
    """Make a primitive of the decorated function and register it.

    The function gives the name, the names of the inputs (its positional parameters) and of
    the attributes (its keyword-only ones), and the documentation. The function is also the kernel,
    written in NumPy with an ``out=None`` keyword, unless `kernel` names a NumPy ufunc.

    Parameters
    ----------
    kernel : callable, optional
        A NumPy ufunc that does the work; the function's body is then never run.
    gradient : tuple of (callable or None), or callable
        One rule for each input: ``rule(g, y, *inputs, **attributes)`` returns the cotangent
        of that input from the cotangent ``g`` of the output. Write the rule in Tensor operations. Do not
        undo broadcasting: `pullback` does it afterwards. A variadic primitive gives one
        callable for all inputs; see :class:`Primitive`.
    formula : str or Formula
        LaTeX with the names of the inputs in braces, and TeX's own braces doubled; see
        :class:`Formula`.
    shape : callable, optional
        ``shape(*specs, **attributes) -> Spec``. If not given, the operation is elementwise, with the dtype
        that `floating` asks for.
    domain : Domain, optional
        Set of allowed inputs; all reals if not given.
    leading, view : callable, optional
        How a further leading axis passes through, and whether the result is a view; see
        :class:`Primitive`.
    facts : Facts, optional
        Further facts about the operation, such as that it is linear. If not given, the operation is opaque.
    floating : bool, optional
        Whether the operation is a function of floats only, such as exp: inputs of integers and booleans
        become float64 before the kernel sees them. If not given: for a ufunc, NumPy's own types decide;
        a kernel in Python is assumed to leave dtypes unchanged.
    accumulates : bool
        Whether the operation adds up many values, like a sum. Its kernel then computes float16 inputs in
        float32, and the result is rounded to float16.
    c : str or mapping of str to str, optional
        The operation in C, for the native backend, with the names of the inputs in braces: ``"{a} + {b}"``. The template
        computes one element, for inputs in the dtype of the result; for a result of booleans, in the inputs' common dtype.
        Functions whose names end in ``_``, such as ``exp_({x})``, are those of ``scan/native/kernels.c``. The template of a
        reduction computes one line of elements, ``"sum_({n}, {x})"``. The template of an operation along an axis writes a
        line, ``"cumsum_({n}, {x}, {y})"``. A mapping has a template for each kind of dtype, in NumPy's letters:
        ``{"f": …, "iu": …}``.

    Raises
    ------
    ValueError
        If the name is taken, if the number of rules is not the number of inputs, if the formula has an
        unknown placeholder, if a fact names an unknown attribute or input, or if `c` has no facts that say what it is for.
    TypeError
        If the kernel takes no ``out=``, or the domain is not a :class:`Domain` of Intervals.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> @tr.primitive(gradient=(lambda g, y, x: g * (1 + x * y) * 2,), formula=r"\\tan {x}")
    ... def wrong_on_purpose(x, out=None):
    ...     return np.tan(x, out=out)
    >>> wrong_on_purpose
    <primitive wrong_on_purpose(x)>
    >>> del tr.ops.registry["wrong_on_purpose"]
    """

    def make(function: Callable[..., Any]) -> Primitive:
        name = function.__name__.strip("_")
        origin = function.__module__, function.__qualname__
        if name in registry and (registry[name].__module__, getattr(registry[name], "__qualname__", "")) != origin:
            raise ValueError(f"a primitive {name!r} exists already; choose another name")
        parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "out"]
        arguments = tuple(
            f"*{p.name}" if p.kind is p.VAR_POSITIONAL else p.name for p in parameters if p.kind is not p.KEYWORD_ONLY
        )
        variadic = arguments[-1].startswith("*")
        if variadic == isinstance(gradient, tuple):
            form = "one callable for all inputs" if variadic else "a tuple, gradient=(rule,), with a rule for each input"
            raise ValueError(f"{name}: give {form}")
        if isinstance(gradient, tuple) and len(gradient) != len(arguments):
            raise ValueError(f"{name} has {len(arguments)} inputs and {len(gradient)} gradient rules; give one rule each")
        written = formula if isinstance(formula, Formula) else Formula(formula)
        attributes = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        check_formula(name, written, arguments, attributes)
        check_facts(name, facts, arguments, attributes)
        check_template(name, c, arguments, attributes)
        _check_kernel(name, kernel or function)
        if domain is not None and not (isinstance(domain, Domain) and all(isinstance(i, Interval) for i in domain.inputs)):
            raise TypeError(f"{name}: domain must be a Domain of Intervals, such as Domain(Interval(0, 1)), not {domain!r}")
        ufunc = kernel if isinstance(kernel, np.ufunc) else None
        run = kernel or function
        if accumulates:
            run = widens_halves(run)
        of_floats = makes_floats(ufunc) if floating is None and ufunc is not None else bool(floating)
        if of_floats:
            run = takes_integers_as_floats(run)
        made = Primitive(
            name,
            run,
            gradient,
            shape or (elementwise_float if of_floats else elementwise),
            domain or Domain(),
            written,
            arguments,
            frozenset(attributes),
            leading=leading,
            view=view,
            facts=facts,
            ufunc=ufunc,
            c=c,
        )
        if c is not None and not (made.elementwise or facts.reduces or facts.along):
            raise ValueError(
                f"{name}: c= needs facts that say what the C is for: facts=tr.Facts(elementwise=True) for a function of each "
                "element, or along= or reduces= for a function along axes"
            )
        functools.update_wrapper(made, function)
        registry[name] = made
        return made

    return make


def _check_kernel(name: str, kernel: Callable[..., Any]) -> None:
    try:
        parameters = inspect.signature(kernel).parameters
    except (TypeError, ValueError):  # a function written in C has no signature; a ufunc takes `out`
        return
    out = parameters.get("out")
    if (out is None or out.default is out.empty) and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        raise TypeError(f"{name}: the kernel has no parameter out; add out=None, an array that takes the kernel's result")


def filled(value: Any, out: Any) -> Any:
    """The return value of a kernel: the given value, or `out` with the value copied into it."""
    if out is None:
        return value
    np.copyto(out, value)
    return out


# -- apply ---------------------------------------------------------------------------------

_value_types = (np.ndarray, Spec, Results)
tensor_class: type[Tensor] = None  # type: ignore[assignment]  # set by tensor.py, one room up


def apply(primitive: Primitive, inputs: Sequence[TensorLike], attributes: Mapping[str, Any] = NO_ATTRIBUTES) -> Tensor:
    """Apply a primitive: check the inputs, run its kernel if the inputs have values, and record a node.

    Parameters
    ----------
    primitive : Primitive
        The operation.
    inputs : sequence of Tensor or array_like
        Arrays and Python numbers become constants; a Python number takes the dtype that
        NumPy's promotion gives it beside the other inputs.
    attributes : Mapping, optional
        Static arguments, by name.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError, DtypeError
        The message has the primitive, the layer, the step, and the inputs by name.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> apply(tr.ops.registry["add"], (tr.tensor([1.0, 2.0]), 1))
    tensor([2., 3.])
    """
    state = current()
    n = len(inputs)
    if n == 2:  # one and two inputs are written out, since most operations of a network have so many
        a, b = inputs
        nodes: tuple[Node, ...] = (
            a.node if isinstance(a, tensor_class) else _number_like(a, b, primitive),
            b.node if isinstance(b, tensor_class) else _number_like(b, a, primitive),
        )
    elif n == 1 and isinstance(inputs[0], tensor_class):
        nodes = (inputs[0].node,)
    else:
        nodes = tuple([x.node if isinstance(x, tensor_class) else _constant(x, inputs) for x in inputs])
    try:
        if not state.eager:
            value = _look_or_trace(primitive, nodes, attributes)
        elif attributes or n > 2:
            value = primitive.kernel(*[node.value for node in nodes], **attributes)
        elif n == 2:
            value = primitive.kernel(nodes[0].value, nodes[1].value)
        else:
            value = primitive.kernel(nodes[0].value)
    except TinygradError:
        raise
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise explained(primitive, nodes, attributes, error) from None
    if value.__class__ is not np.ndarray and not isinstance(value, _value_types):
        value = np.asarray(value)
    if state.recording:
        return tensor_class(Node(primitive, nodes, attributes, value, state.location))
    if state.recorder is not None:
        return tensor_class(state.recorder.aside(Node(primitive, nodes, attributes, value, state.location)))
    return tensor_class(Node(None, (), NO_ATTRIBUTES, value, NOWHERE))


def _look_or_trace(primitive: Primitive, nodes: tuple[Node, ...], attributes: Mapping[str, Any]) -> Any:
    if current().tracing:
        try:
            return primitive.shape(*[node.spec for node in nodes], **attributes)
        except (ShapeError, DtypeError) as error:
            raise explained(primitive, nodes, attributes, error) from None
    value = primitive.kernel(*[node.value for node in nodes], **attributes)
    if isinstance(value, Results):
        return value
    value = np.asarray(value)
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        report_non_finite(primitive, nodes, value)
    return value


# Python numbers occur at every step of a loop; all uses of a number share one node.
_numbers: dict[tuple[Any, ...], Node] = {}


def _number_like(number: Any, other: Any, primitive: Primitive) -> Node:
    try:
        return _numbers[number.__class__, number, other.dtype]
    except (KeyError, TypeError, AttributeError):
        return _constant(number, (other,), primitive)


def _constant(data: Any, others: Sequence[Any], primitive: Primitive | None = None) -> Node:
    """A node for an input that is not a tensor; a Python number takes its dtype from the other inputs."""
    if data.__class__ not in (int, float, bool):
        if hasattr(data, "node_beside"):  # a number of a recorded function, which differs from run to run
            node: Node = data.node_beside([x.dtype for x in others if hasattr(x, "dtype")])
            return node
        if holds_a_tensor(data):
            raise DtypeError("a list of tensors cannot be used as a tensor; join the tensors by tr.stack or tr.concatenate")
        return constant(as_array(data))
    dtypes = [x.dtype for x in others if hasattr(x, "dtype")]
    try:
        node = constant(np.array(data, np.result_type(*dtypes, data) if dtypes else None), NUMBER)
    except OverflowError:
        return constant(_too_large(data, dtypes, primitive), NUMBER)
    # not for 0.0, which equals -0.0, and not for NaN, which does not equal itself
    if len(dtypes) == 1 and (data or data.__class__ is int) and data == data and len(_numbers) < 1024:
        _numbers[data.__class__, data, dtypes[0]] = node
    return node


def _too_large(number: float, dtypes: Sequence[np.dtype[Any]], primitive: Primitive | None) -> npt.NDArray[Any]:
    """The array of a Python integer that the dtype of the other inputs cannot hold, for a comparison such as ``<``.

    Raises
    ------
    DtypeError
        If the result would have the dtype of the other inputs.
    """
    common = np.result_type(*dtypes) if dtypes else None
    if common is not None and -(2**63) <= number < 2**64 and primitive is not None and not primitive.attributes:
        made = primitive.shape(Spec((), common), Spec((), common))
        if made.dtype != common:
            return np.array(number)
    shown = number if abs(number) < 10**30 else "a number of more than 30 digits"
    if common is None:
        raise DtypeError(f"{shown} is too large for every dtype; give a float")
    raise DtypeError(f"{shown} is outside the range of the tensor's dtype {common}; convert the tensor first, by .astype")


def holds_a_tensor(data: Any) -> bool:
    """Whether nested lists hold a tensor."""
    return isinstance(data, tensor_class) or (isinstance(data, (list, tuple)) and any(map(holds_a_tensor, data)))


NUMBER: Mapping[str, Any] = {"number": True}
"""Attributes of a leaf that is a number of the source code: unlike an array, it is the same at each call."""


def constant(value: npt.NDArray[Any], attributes: Mapping[str, Any] = NO_ATTRIBUTES) -> Node:
    """Make a leaf that holds an array; the caller must not change the array any more.

    Raises
    ------
    If the array is not of floats, integers or booleans.
        If it is not an array of floats, integers or booleans.
    """
    if value.dtype.kind not in "fiub":
        objects = value.flat[:1000] if value.dtype.kind == "O" else ()
        kinds = sorted({type(x).__name__ for x in objects}) or [str(value.dtype)]
        integers = " (integers of at most 64 bits)" if "int" in kinds else ""
        raise DtypeError(
            f"a tensor cannot hold values of type {', '.join(kinds)}; give numbers{integers} or booleans, in rows of one length"
        )
    if not value.dtype.isnative:  # only arrays from files have such dtypes; without them there are fewer dtypes to distinguish
        value = value.astype(value.dtype.newbyteorder("="))
    return Node(None, (), attributes, value)


def as_array(data: Any, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Convert data that is not a tensor yet, such as a nested list, to an array of numbers.

    Raises
    ------
    DtypeError
        If the data have no regular shape, or do not fit the dtype.
    """
    try:
        return np.array(data, dtype)
    except (ValueError, OverflowError) as error:
        ragged = "inhomogeneous" in str(error)
        hint = "; pad rows of different lengths by sequences.pad" if ragged else ""
        raise DtypeError(f"NumPy cannot make an array of the given values: {error}{hint}") from None


def as_tensor(x: TensorLike) -> Tensor:
    """Return a tensor as it is, and other data as a constant tensor."""
    return x if isinstance(x, tensor_class) else tensor_class(_constant(x, ()))
