#!/usr/bin/env python3
"""The house rules that a machine can check: sizes, names, line length, header comments. usage: check_style.py ROOT"""
import pathlib
import re
import sys

HEADER_LINES_MAX = 250
SOURCE_LINES_MAX = 800
LINE_LENGTH_MAX = 120
EMPTY_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|misc|manager)(_|\.|$)", re.I)


def check(file: pathlib.Path, shown: str) -> list[str]:
    text = file.read_text(encoding="utf-8")
    lines = text.split("\n")
    wrong = []
    limit = HEADER_LINES_MAX if file.suffix == ".h" else SOURCE_LINES_MAX
    if len(lines) - 1 > limit and "size-exception:" not in text:
        wrong.append(f"{shown}: {len(lines) - 1} lines, limit {limit}; split it, or say why after 'size-exception:'")
    if EMPTY_NAMES.search(file.name):
        wrong.append(f"{shown}: the name says nothing; name the idea that is inside")
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_LENGTH_MAX:
            wrong.append(f"{shown}:{number}: {len(line)} characters, limit {LINE_LENGTH_MAX}")
        if line.endswith((" ", "\t")):
            wrong.append(f"{shown}:{number}: trailing white space")
    if file.suffix == ".h":
        if not lines[0].startswith("// "):
            wrong.append(f"{shown}: a header opens with what it is, who owns it, which threads")
        if "#pragma once" not in text:
            wrong.append(f"{shown}: no #pragma once")
    for number, line in enumerate(lines, 1):
        if re.search(r"\b(std::cout|printf\()", line) and "/apps/" not in shown and "/cli/" not in shown \
                and "check.cc" not in shown and "fprintf" not in line and "snprintf" not in line:
            wrong.append(f"{shown}:{number}: prints; use firn/base/log.h, or return the text")
    return wrong


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    files = sorted(p for p in (root / "src").rglob("*") if p.suffix in (".h", ".cc"))
    wrong = [message for file in files for message in check(file, file.relative_to(root).as_posix())]
    print("\n".join(wrong) if wrong else f"{len(files)} files in style")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
