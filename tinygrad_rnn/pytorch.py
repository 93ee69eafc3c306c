"""PyTorch's names and their counterparts here: one table for errors and for the page about PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["HABITS", "Habit", "markdown", "missing"]


class Habit(NamedTuple):
    """A name of PyTorch that has another name, or no counterpart, in this library.

    Attributes
    ----------
    owner : str
        The namespace of the names: ``"tr"``, ``"nn"``, ``"optim"``, ``"Tensor"`` or ``"Module"``.
    names : str
        The names, separated by spaces.
    here : str
        Code of this library that runs, where x is a Tensor of shape (2, 3), and NAME stands for the name.
    why : str
        A further explanation, or an empty text.
    """

    owner: str
    names: str
    here: str
    why: str = ""

    def written(self, name: str) -> str:
        """The code that replaces a name of PyTorch."""
        return self.here.replace("NAME", name)


HABITS = (
    Habit("tr", "zeros", "tr.tensor(np.zeros((2, 3)))", "most functions and layers take arrays as they are"),
    Habit("tr", "ones", "tr.tensor(np.ones((2, 3)))"),
    Habit("tr", "full", "tr.tensor(np.full((2, 3), 0.5))"),
    Habit("tr", "eye", "tr.tensor(np.eye(3))"),
    Habit("tr", "arange", "tr.tensor(np.arange(3))"),
    Habit("tr", "linspace", "tr.tensor(np.linspace(0, 1, 5))"),
    Habit("tr", "zeros_like ones_like empty_like", "np.zeros_like(x)", "an array"),
    Habit("tr", "rand", "tr.tensor(np.random.default_rng(0).random((2, 3)))", "in a step, tr.sample"),
    Habit("tr", "randn", "tr.tensor(np.random.default_rng(0).standard_normal((2, 3)))", "in a step, tr.sample"),
    Habit("tr", "from_numpy as_tensor FloatTensor LongTensor", "tr.tensor(np.ones(3))"),
    Habit("tr", "rand_like randn_like", "tr.sample(lambda rng: rng.standard_normal(x.shape))", "new numbers at each step"),
    Habit("tr", "randint", "np.random.default_rng(0).integers(0, 5, (2, 3))", "in a step, tr.sample"),
    Habit("tr", "manual_seed", "tr.seed(0)"),
    Habit("tr", "cat concat hstack vstack", "tr.concatenate([x, x], axis=0)"),
    Habit("tr", "unsqueeze", "tr.expand_dims(x, 0)"),
    Habit("tr", "permute", "tr.transpose(x, (1, 0))"),
    Habit("tr", "mm bmm", "tr.matmul(x, x.T)"),
    Habit("tr", "abs", "tr.absolute(x)"),
    Habit("tr", "pow", "tr.power(x, 2)"),
    Habit("tr", "isnan isinf isfinite", "np.NAME(x)"),
    Habit("tr", "allclose", "np.allclose(x, x)"),
    Habit("tr", "round", "np.round(x.data)", "outside the graph, for it has no gradient"),
    Habit("tr", "flatten", "x.flatten()"),
    Habit("tr", "t", "x.T"),
    Habit("tr", "clamp", "tr.clip(x, 0, 1)"),
    Habit("tr", "gather", "tr.take_along_axis(x, np.array([[0], [1]]), axis=1)"),
    Habit("tr", "index_select", "tr.take(x, [0, 1], axis=1)"),
    Habit("tr", "repeat_interleave", "tr.take(x, np.repeat(np.arange(2), 2), axis=0)"),
    Habit("tr", "norm", "tr.sqrt(tr.sum(x * x))"),
    Habit("tr", "float float32", "x.astype(np.float32)"),
    Habit("tr", "float64 double", "x.astype(np.float64)"),
    Habit("tr", "int64 long", "tr.tensor([0, 1], dtype=np.int64)"),
    Habit("tr", "autograd", "tr.grad(w * w, w)", "backward and jacobian too"),
    Habit("tr", "enable_grad set_grad_enabled inference_mode", "tr.no_grad()"),
    Habit("tr", "device cuda", "x", "there is the CPU only"),
    Habit("nn", "MSELoss", "nn.mse(x, x * 2)", "a function; lengths= leaves out padding"),
    Habit("nn", "CrossEntropyLoss NLLLoss", "nn.cross_entropy(x, [0, 2])", "of logits, the classes along the last axis"),
    Habit("nn", "mse_loss", "nn.mse(x, x * 2)"),
    Habit("nn", "L1Loss", "tr.absolute(x - 1).mean()"),
    Habit("nn", "BCEWithLogitsLoss BCELoss", "(tr.softplus(x) - x * 1.0).mean()", "of logits x and targets 1.0"),
    Habit("nn", "ReLU", "nn.Sequential(nn.Linear(3, 2), tr.relu)", "a function is a layer"),
    Habit("nn", "Tanh", "nn.Sequential(nn.Linear(3, 2), tr.tanh)", "a function is a layer"),
    Habit("nn", "Sigmoid", "nn.Sequential(nn.Linear(3, 2), tr.sigmoid)", "a function is a layer"),
    Habit("nn", "Softplus", "nn.Sequential(nn.Linear(3, 2), tr.softplus)", "a function is a layer"),
    Habit("nn", "Softmax", "tr.softmax(x)"),
    Habit("nn", "LogSoftmax", "tr.log_softmax(x)"),
    Habit("nn", "Identity", "nn.Sequential(lambda x: x)"),
    Habit("nn", "Flatten", "nn.Sequential(lambda x: x.reshape(len(x), -1))"),
    Habit("nn", "ModuleList", "[nn.Linear(2, 3), nn.Linear(3, 1)]", "a plain list, set as an attribute"),
    Habit("nn", "ModuleDict", '{"encoder": nn.Linear(2, 3)}', "a plain dict, set as an attribute"),
    Habit("nn", "ParameterList", "[nn.Parameter((2, 3))]", "a plain list, set as an attribute"),
    Habit("nn", "ParameterDict", '{"W": nn.Parameter((2, 3))}', "a plain dict, set as an attribute"),
    Habit("nn", "functional", "tr.relu(x)", "functions are in tr, losses in nn"),
    Habit("nn", "utils", "optim.clip_grad_norm([w], 1.0)", "and sequences.pad, lengths= of every recurrent layer"),
    Habit("nn", "Conv1d", "nn.TimeDelay(3, 2, 4)", "over time"),
    Habit("nn", "RNNBase RNNCellBase", "nn.Cell", "a cell of your own, run by nn.Recurrent(cell)"),
    Habit("optim", "lr_scheduler", "optim.WarmupCosine", "or set optimizer.lr at any time"),
    Habit("optim", "RMSprop", "optim.RMSProp"),
    Habit("optim", "LBFGS", "optim.lbfgs", "a function"),
    Habit("Tensor", "view", "x.reshape(3, 2)"),
    Habit("Tensor", "unsqueeze", "x[None]", "or tr.expand_dims(x, axis)"),
    Habit("Tensor", "permute", "x.transpose(1, 0)"),
    Habit("Tensor", "t mT", "x.T"),
    Habit("Tensor", "dim ndimension", "x.ndim"),
    Habit("Tensor", "numel nelement", "x.size"),
    Habit("Tensor", "clamp", "x.clip(0, 1)"),
    Habit("Tensor", "float half", "x.astype(np.float32)"),
    Habit("Tensor", "double", "x.astype(np.float64)"),
    Habit("Tensor", "long int", "x.astype(np.int64)"),
    Habit("Tensor", "bool", "x != 0"),
    Habit("Tensor", "type", "x.astype(np.float32)"),
    Habit("Tensor", "cpu cuda to device", "x", "there is the CPU only"),
    Habit("Tensor", "clone contiguous", "x", "a tensor is never written to, and needs no copy"),
    Habit("Tensor", "requires_grad_ retain_grad", "tr.tensor([1.0], requires_grad=True)", "or tr.grad(y, x), of any value"),
    Habit("Tensor", "grad_fn", "tr.graph(x)", "or x.node"),
    Habit("Tensor", "matmul mm bmm", "x @ x.T"),
    Habit("Tensor", "pow", "x ** 2"),
    Habit("Tensor", "abs", "abs(x)"),
    Habit("Tensor", "exp log sqrt sin cos tanh sigmoid relu softmax log_softmax logsumexp", "tr.NAME(x)"),
    Habit("Tensor", "norm", "tr.sqrt((x * x).sum())"),
    Habit("Tensor", "expand", "x.broadcast_to((4, 2, 3))"),
    Habit("Tensor", "repeat tile", "tr.tile(x, (2, 1))"),
    Habit("Tensor", "repeat_interleave", "tr.take(x, np.repeat(np.arange(2), 2), axis=0)"),
    Habit("Tensor", "round floor ceil", "np.NAME(x.data)", "outside the graph, for it has no gradient"),
    Habit("Tensor", "isnan isfinite", "np.NAME(x)"),
    Habit("Tensor", "where", "tr.where(x > 0, x, 0.0)"),
    Habit("Tensor", "is_leaf", "x.node.primitive is None"),
    Habit("Tensor", "copy", "x.data.copy()", "a tensor is never written to, and needs no copy"),
    Habit("Tensor", "gather", "tr.take_along_axis(x, np.array([[0], [1]]), axis=1)"),
    Habit("Tensor", "index_select", "x.take([0, 1], axis=1)"),
    Habit("Tensor", "masked_fill", "tr.where(x > 0, x, 0.0)"),
    Habit("Tensor", "masked_select", "x[x > 0]"),
    Habit("Tensor", "chunk split", "tr.split(x, 2)"),
    Habit("Tensor", "unbind", "list(x)"),
    Habit("Tensor", "flip roll sort", "tr.NAME(x, 0)"),
    Habit("Tensor", "eq", "x == 1"),
    Habit("Tensor", "ne", "x != 1"),
    Habit("Tensor", "gt", "x > 1"),
    Habit("Tensor", "ge", "x >= 1"),
    Habit("Tensor", "lt", "x < 1"),
    Habit("Tensor", "le", "x <= 1"),
    Habit("Tensor", "neg", "-x"),
    Habit("Tensor", "add add_", "x + 1", "a tensor is never written to: bind the name anew"),
    Habit("Tensor", "sub sub_", "x - 1", "a tensor is never written to: bind the name anew"),
    Habit("Tensor", "mul mul_", "x * 2", "a tensor is never written to: bind the name anew"),
    Habit("Tensor", "div div_", "x / 2", "a tensor is never written to: bind the name anew"),
    Habit("Tensor", "zero_ fill_ copy_", "x * 0", "a tensor is never written to: bind the name anew"),
    Habit("Module", "to cuda cpu", "model", "there is the CPU only"),
    Habit("Module", "float double half", "nn.Linear(3, 2, dtype=np.float64)", "layers are made with a dtype"),
    Habit("Module", "named_modules named_children", "list(model.modules())", "children too has names"),
    Habit("Module", "requires_grad_", "[p.requires_grad_(False) for p in model.parameters()]"),
    Habit(
        "Module", "add_module register_module register_parameter register_buffer", 'setattr(model, "layer", nn.Linear(3, 2))'
    ),
    Habit("Module", "apply", "[layer for _, layer in model.modules()]"),
)

_BY_NAME = {(habit.owner, name): habit for habit in HABITS for name in habit.names.split()}


def missing(owner: str, name: str, called: str) -> AttributeError:
    """The error for a missing name, with our counterpart if the name is PyTorch's.

    Parameters
    ----------
    owner : str
        The namespace, as in the table.
    name : str
    called : str
        The owner's name in the error message.

    Examples
    --------
    >>> print(missing("Tensor", "view", "a tensor"))
    a tensor has no 'view': PyTorch's view is written x.reshape(3, 2) here; docs/pytorch.md has a list
    """
    habit = _BY_NAME.get((owner, name))
    if habit is None:
        return AttributeError(f"{called} has no attribute {name!r}")
    why = f" ({habit.why})" if habit.why else ""
    return AttributeError(
        f"{called} has no {name!r}: PyTorch's {name} is written {habit.written(name)} here{why}; docs/pytorch.md has a list"
    )


def markdown() -> str:
    """The table of PyTorch's names and ours in Markdown, as docs/pytorch.md shows it.

    Examples
    --------
    >>> print(markdown().splitlines()[0])
    | PyTorch | here | |
    """
    return "\n".join(["| PyTorch | here | |", "|---|---|---|", *_rows()])


def _rows() -> Iterator[str]:
    prefix = {"tr": "torch.", "nn": "nn.", "optim": "optim.", "Tensor": "x.", "Module": "model."}
    for habit in HABITS:
        names = ", ".join(f"`{prefix[habit.owner]}{name}`" for name in habit.names.split())
        yield f"| {names} | `{habit.written(habit.names.split()[0])}` | {habit.why} |"
