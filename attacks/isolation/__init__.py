"""Attacks run in processes that hold one view each: the file format, the locked process, and the pool that starts them.

What keeps an attack from seeing more: its process began before any file of the run was read and inherits none of the
caller's memory, environment or open files; it forks for each view, works in an empty folder, and an audit hook refuses to
open anything but that view, the interpreter and its packages, to write anything but the answer, and to reach the network or
start programs. This stops our own code from peeking by mistake or by carelessness. It is no jail for hostile machine code:
a compiled extension can open files without telling the interpreter.
"""
