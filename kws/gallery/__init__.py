"""All runs under a folder as one table, and accuracy against speed as a picture.

python -m kws.gallery outputs/… [--no-measure] [--output DIR]
"""
