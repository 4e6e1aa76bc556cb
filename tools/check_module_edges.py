#!/usr/bin/env python3
"""Holds every #include "firn/..." against the order of modules: edges point down only (DESIGN 8).

usage: check_module_edges.py ROOT
"""
import pathlib
import re
import sys

# module folder -> the module folders it may include, besides itself and base.
ALLOWED = {
    "base": set(),
    "env": set(),
    "metrics": set(),
    "stream": set(),
    "schema": set(),
    "columnar": {"env", "schema"},
    "decode": {"schema", "columnar", "stream"},
    "parquet": {"env", "schema", "columnar"},
    "iceberg/spec": {"schema"},
    "iceberg/manifest": {"schema", "iceberg/spec"},
    "iceberg/catalog": {"env", "schema", "iceberg/spec"},
    "iceberg/commit": {"env", "schema", "iceberg/spec", "iceberg/manifest", "iceberg/catalog"},
    "compaction": {"env", "metrics", "schema", "columnar", "parquet", "iceberg/spec", "iceberg/manifest",
                   "iceberg/catalog", "iceberg/commit"},
    "kafka": {"env", "metrics", "stream"},
    "ingest": {"env", "metrics", "stream", "schema", "columnar", "decode", "parquet", "iceberg/spec",
               "iceberg/manifest", "iceberg/catalog", "iceberg/commit"},
    "lag": {"env", "metrics", "schema", "iceberg/spec", "iceberg/manifest", "iceberg/catalog", "iceberg/commit",
            "compaction"},
    "maintenance": {"env", "metrics", "schema", "iceberg/spec", "iceberg/manifest", "iceberg/catalog",
                    "iceberg/commit", "compaction", "ingest"},
    "config": {"env", "schema", "decode", "iceberg/spec", "iceberg/catalog", "ingest"},
    "cli": {"env", "metrics", "stream", "schema", "columnar", "decode", "parquet", "iceberg/spec", "iceberg/manifest",
            "iceberg/catalog", "iceberg/commit", "compaction", "kafka", "ingest", "lag", "maintenance", "config"},
    "sim": {"env", "metrics", "stream", "schema", "columnar", "decode", "parquet", "iceberg/spec", "iceberg/manifest",
            "iceberg/catalog", "iceberg/commit", "compaction", "ingest", "config"},
}
INCLUDE = re.compile(r'^\s*#include "firn/([^"]+)"', re.M)


def module_of(path: str) -> str | None:
    return next((m for m in sorted(ALLOWED, key=len, reverse=True) if path.startswith(m + "/")), None)


def main() -> int:
    root = pathlib.Path(sys.argv[1]) / "src" / "firn"
    wrong = []
    files = sorted(p for p in root.rglob("*") if p.suffix in (".h", ".cc"))
    for file in files:
        here = file.relative_to(root).as_posix()
        mine = module_of(here)
        if mine is None:
            wrong.append(f"{here}: in no known module; add it to tools/check_module_edges.py and docs/ARCHITECTURE.md")
            continue
        for target in INCLUDE.findall(file.read_text(encoding="utf-8")):
            theirs = module_of(target)
            if theirs is None:
                wrong.append(f"{here}: includes an unknown module: {target}")
            elif theirs not in (mine, "base") and theirs not in ALLOWED[mine]:
                wrong.append(f"{here}: {mine} must not see {theirs} ({target}); move the code up or pass a value in")
    print("\n".join(wrong) if wrong else f"{len(files)} files, every edge points down")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
