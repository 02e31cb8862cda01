"""The query language: a text such as `split == 'val' and any(category == 'dog' and area > 96**2)` over columns.

It knows columns, not files: `tokens` cuts the text, `syntax` makes a tree of it, `fields` lists what can be asked, and
`meaning` checks the tree against the names of a dataset and computes it on tables. docs/query.md is its grammar.
"""
