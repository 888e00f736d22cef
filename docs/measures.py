"""Write the tables of measures.md anew, from the rows of the registry: python docs/measures.py"""

from pathlib import Path

from gramian.measures.registry import markdown

BEGIN, END = "<!-- measures -->\n", "<!-- end of measures -->\n"

page = Path(__file__).with_suffix(".md")
before, rest = page.read_text().split(BEGIN)
page.write_text(before + BEGIN + markdown() + END + rest.split(END)[1])
