"""A reader of LaTeX equations that computes the equations."""

import re

import numpy as np


class Reader:
    """Reads and computes LaTeX formulas; the reader only knows brackets and precedence.

    `value` gives the number, vector or matrix of a symbol as it is written, such as
    ``"h_{t-1}"``. `steps` are the steps of a sum over t. Within such a sum, or if the reader
    is given a step, `value` is called with t.
    """

    def __init__(self, latex, value, steps=(), t=None, shape=None):
        self.tokens = re.findall(r"\\[a-zA-Z]+|\\.|\d+\.?\d*|[a-zA-Z]|\S", latex)
        self.at, self.value, self.steps, self.t, self.shape = 0, value, steps, t, shape

    def look_up(self, symbol):
        return self.value(symbol) if self.t is None else self.value(symbol, self.t)

    @property
    def next(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *expected):
        token = self.next
        assert not expected or token in expected, f"{token!r}, not {expected}, in {' '.join(self.tokens)}"
        self.at += 1
        return token

    def group(self):
        self.take("{")
        value = self.open()
        self.take("}")
        return value

    def text(self):
        self.take("{")
        taken, depth = [], 1
        while depth:
            taken.append(self.take())
            depth += {"{": 1, "}": -1}.get(taken[-1], 0)
        return "".join(taken[:-1])

    def open(self):
        """An expression that may be in brackets."""
        if self.next == r"\begin":
            return self.cases()
        left = self.relation()
        while self.next in (r"\land", r"\lor"):
            ufunc = {r"\land": np.logical_and, r"\lor": np.logical_or}[self.take()]
            left = ufunc(left, self.relation()) * 1.0
        return left

    def cases(self):
        self.take(), self.text()
        a = self.open()
        self.take("&")
        condition = self.open()
        self.take("\\\\")
        b = self.open()
        self.take("&"), self.take(r"\text"), self.text(), self.take(r"\end"), self.text()
        assert self.next in ("", "&", "\\\\", r"\right", "}", r"\end", ","), "an open brace is not closed before what follows"
        return np.where(condition, a, b)

    RELATIONS = {
        "<": np.less,
        ">": np.greater,
        "=": np.equal,
        r"\le": np.less_equal,
        r"\ge": np.greater_equal,
        r"\ne": np.not_equal,
    }

    def relation(self):
        if self.next == r"\lnot":
            self.take()
            return np.logical_not(self.power()) * 1.0
        left = self.sum()
        if self.next in self.RELATIONS:
            left = self.RELATIONS[self.take()](left, self.sum()) * 1.0
            assert self.next not in self.RELATIONS
        return left

    def sum(self):
        left = 0.0
        first = True
        while first or self.next in ("+", "-"):
            minus = self.next in ("+", "-") and self.take() == "-"
            assert self.next not in ("+", "-"), "two signs"
            term = self.term()
            left, first = (left - term if minus else left + term), False
        return left

    def term(self):
        if self.next == r"\sum":
            self.take()
            if self.next != "_":
                return np.sum(self.term(), axis=-1, keepdims=True)
            self.take("_"), self.take("t")
            start, outside, total = self.at, self.t, 0.0
            for t in self.steps:
                self.at, self.t = start, t
                total = total + self.term()
            self.t = outside
            return total
        left = self.matrices()
        while self.next in self.FACTORS:
            ufunc = {r"\bmod": np.remainder, r"\odot": np.multiply, r"\cdot": times}[self.take()]
            assert self.next != "-" and self.next != r"\sum"
            left = ufunc(left, self.matrices())
        return left

    FACTORS = (r"\odot", r"\cdot", r"\bmod")
    ENDS = ("", "+", "-", *FACTORS, r"\right", "}", "&", "\\\\", ",", "|", r"\land", r"\lor", r"\end", *RELATIONS)

    def matrices(self):
        factors = [self.power()]
        while self.next not in self.ENDS:
            factors.append(self.power())
        right = factors.pop()
        for left in reversed(factors):
            right = np.outer(left, right) if np.ndim(left) == 1 and np.ndim(right) == 2 and len(right) == 1 else left @ right
        return right

    def power(self):
        is_e = self.next == "e"
        base = self.atom()
        while self.tokens[self.at : self.at + 3] == ["{", "}", "_"]:
            self.at += 3
            base = base[self.index()]
        if self.next == "^":
            self.take()
            if self.tokens[self.at : self.at + 3] == ["{", r"\top", "}"]:
                self.at += 3
                return base.T if np.ndim(base) == 2 else base[None]
            base = (np.e if is_e else base) ** self.group()
            assert self.next != "^", "a double superscript"
        return base

    def index(self):
        """A position, or a part between two positions."""
        self.take("{"), self.take("[")
        inside = []
        while self.next != "]":
            inside.append(self.take())
        self.take("]"), self.take("}")
        text = "".join(inside)
        if ":" in text:
            return slice(*(int(end) if end else None for end in text.split(":")))
        return int(text) if text.isdigit() else int(self.look_up(text))

    FUNCTIONS = {
        "softmax": lambda x: np.exp(x) / np.exp(x).sum(),
        "relu": lambda x: np.maximum(x, 0),
        "sign": np.sign,
        "detach": lambda x: x,
        "cumsum": np.cumsum,
        "argmax": lambda x: np.argmax(x, keepdims=True),
        "argsort": np.argsort,
    }

    def argument(self):
        self.take(r"\left")
        close = {"(": ")", "[": "]", "|": "|", r"\lfloor": r"\rfloor"}[self.take()]
        values = [self.open()]
        while self.next == ",":
            self.take()
            values.append(self.open())
        self.take(r"\right"), self.take(close)
        return values

    def atom(self):
        if self.next == "{":
            return self.group()
        if self.next == r"\left":
            bracket = self.tokens[self.at + 1]
            values = self.argument()
            functions = {"|": np.abs, r"\lfloor": np.floor, "(": lambda x: x}
            return functions[bracket](values[0]) if bracket in functions else np.concatenate(values)
        token = self.take()
        if re.match(r"\d", token):
            assert not re.match(r"\d", self.next)
            return float(token)
        if token == r"\frac" and self.tokens[self.at + 1] == r"\partial":
            return self.look_up(f"{{{self.text()}}}/{{{self.text()}}}")
        if token == r"\frac":
            return self.group() / self.group()
        if token == r"\sqrt":
            return np.sqrt(self.group())
        if token == r"\sigma":
            return 1 / (1 + np.exp(-self.argument()[0]))
        if token == r"\operatorname" and "".join(self.tokens[self.at + 1 : self.at + 8]) == "scatter":
            self.text(), self.take("_")
            whole = np.zeros(self.shape)
            index = self.index()
            whole[index] = self.argument()[0]
            return whole
        if token == r"\operatorname":
            return self.FUNCTIONS[self.text()](*self.argument())
        if token in (r"\max", r"\min"):
            values, ufunc = self.argument(), {r"\max": np.maximum, r"\min": np.minimum}[token]
            return ufunc(*values) if len(values) > 1 else ufunc.reduce(values[0], keepdims=True)
        if token == r"\log" and self.next == r"\sum":
            self.take(), self.take(r"\exp")
            return np.log(np.exp(self.argument()[0]).sum(keepdims=True))
        if token == r"\log" and self.next == r"\operatorname":
            self.take(), self.text()
            x = self.argument()[0]
            return x - np.log(np.exp(x).sum())
        if token in (r"\exp", r"\log", r"\sin", r"\cos", r"\tanh"):
            return getattr(np, token[1:])(self.argument()[0])
        return None if token == "e" else self.look_up(token + self.scripts(token))

    def scripts(self, token):
        """The rest of the symbol that a token begins: the letter of an accent, primes, superscripts and subscripts."""
        assert re.fullmatch(r"[a-zA-Z]|\\[a-zA-Z]+", token), f"{token} in {' '.join(self.tokens)}"
        found = f"{{{self.text()}}}" if token in self.ACCENTS else ""
        seen = ""
        while self.next in ("'", "_", "^"):
            ahead = "".join(self.tokens[self.at + 1 : self.at + 9])
            if self.next == "^" and not (token == r"\delta" or re.match(r"\{(\\prime,)*\(\d+\)", ahead)):
                break
            assert self.next == "'" or self.next not in seen, "a double script"
            seen += self.take()
            found += seen[-1]
            if seen[-1] != "'":
                found += f"{{{self.text()}}}" if self.next == "{" else self.take()
        return found

    ACCENTS = (r"\text", r"\overrightarrow", r"\overleftarrow", r"\tilde", r"\hat", r"\mathrm")


def times(matrix, vector):
    return matrix @ vector if np.ndim(matrix) == 2 else matrix * vector


class Page:
    """The equations of a model, forward and backward, computed over T steps for one example.

    Parameters
    ----------
    lines : list of str
    T : int
    constants : dict of str to array
        Values of symbols that are the same at all steps.
    sequences : dict of str to array, shape (T, ...)
        Values of inputs, by name.
    outside : dict of str to array
        Each value before and after the sequence, by name.

    If the lines have no loss, the loss is the sum of (o + 1)^2 / 2 over the outputs.
    """

    def __init__(self, lines, T, constants, sequences, outside):
        self.T, self.constants, self.sequences, self.outside = T, {"T": float(T), **constants}, sequences, outside
        self.known, self.general, self.fixed, self.gradients = {}, {}, {}, {}
        for line in lines:
            left, right = line.split(" &= ", 1)
            left = left.replace(" ", "")
            gradient = re.fullmatch(r"\\frac\{\\partialL\}\{\\partial(.*)\}", left)
            name, time = (gradient[1], None) if gradient else self.split(left)
            if gradient:
                self.gradients[name] = right
            elif time == "t":
                assert name not in self.general, f"{name} has two equations"
                self.general[name] = right
            else:
                self.fixed[name, None if time is None else self.at(time, None)] = right

    TIME = re.compile(r"(.*)_(?:\{(?:(.*),)?([tT]|[tT][+-]\d+|-?\d+)\}|([tT\d]))")

    def split(self, symbol):
        found = self.TIME.fullmatch(symbol)
        if symbol in self.constants or found is None:
            return symbol, None
        stem, script, long, short = found.groups()
        return stem + (f"_{{{script}}}" if script else ""), long or short

    def at(self, time, t):
        base, offset = re.fullmatch(r"([tT]?)([+-]?\d+)?", time).groups()
        return {"t": t, "T": self.T, "": 0}[base] + int(offset or 0)

    def __call__(self, symbol, t=None):
        """The value of a symbol as written, in the equation at step t."""
        if symbol in self.constants:
            return self.constants[symbol]
        derivative = re.fullmatch(r"\{\\partial(?:L|\\ell_.)\}/\{\\partial(.*)\}", symbol)
        if derivative:
            return self(derivative[1], t) + 1
        name, time = self.split(symbol)
        return self.value(name, None if time is None else self.at(time, t))

    def value(self, name, t=None):
        """The value of this name at step t, or the value that all steps share."""
        key = name, t
        if key not in self.known:
            if key in self.fixed:
                self.known[key] = self.read(self.fixed[key], t, np.shape(self.outside.get(name)))
            elif t is not None and not 1 <= t <= self.T:
                self.known[key] = self.outside[name]
            elif name in self.sequences:
                self.known[key] = self.sequences[name][t - 1]
            else:
                self.known[key] = self.read(self.general[name], t, np.shape(self.outside.get(name)))
        return self.known[key]

    def gradient(self, symbol):
        """The derivative of the loss with respect to a parameter."""
        return self.read(self.gradients[symbol], None, self.constants[symbol].shape)

    def read(self, latex, t, shape=None):
        reader = Reader(latex, self, range(1, self.T + 1), t, shape)
        reader.look_up = lambda symbol: self(symbol, reader.t)
        value = reader.open()
        assert not reader.next, f"{reader.next} in {latex}"
        return value
