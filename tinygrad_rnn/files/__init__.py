"""Files: written completely or not at all, and read without trust in their content."""

from .npz import Stored, write_arrays
from .table import read_table
from .tensors import TensorFile, read_arrays, read_tensors, write_tensors
from .text import read_text
from .writing import check_folder, check_writable, make_folder, replacing, write_bytes

__all__ = [
    "Stored",
    "TensorFile",
    "check_folder",
    "check_writable",
    "make_folder",
    "read_arrays",
    "read_table",
    "read_tensors",
    "read_text",
    "replacing",
    "write_arrays",
    "write_bytes",
    "write_tensors",
]
