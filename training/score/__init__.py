"""Scores anyone's results from files: one function per metric of ``overread score``."""
