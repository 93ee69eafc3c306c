"""Scan: a cell's step traced once, taken apart, and run as a program over the whole sequence."""
