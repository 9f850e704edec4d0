#!/usr/bin/env bash
# Every tracked source is formatted as .clang-format says. Run by ctest; exit code 77: skipped.
# To repair: git ls-files '*.h' '*.cpp' | xargs clang-format-14 -i
set -euo pipefail

cd "${HOLDFAST_SOURCE:-$(dirname "$0")/../..}"

formatter=
for candidate in clang-format-14 clang-format; do
  if command -v "$candidate" >/dev/null; then
    formatter=$candidate
    break
  fi
done
if [[ -z $formatter ]]; then
  echo "skipped: clang-format is not installed (apt-get install clang-format-14)"
  exit 77
fi
if ! "$formatter" --version | grep -q 'version 14\.'; then
  echo "skipped: $("$formatter" --version), and the rules are pinned to version 14"
  exit 77
fi

# A release tarball has no git; then whatever lies in the modules counts.
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  # A file just deleted is still listed until the next commit.
  list() {
    git ls-files -z -- '*.h' '*.cpp' | while IFS= read -r -d '' file; do
      if [[ -e $file ]]; then printf '%s\0' "$file"; fi
    done
  }
else
  list() { find storage wal replication net cli tests fuzz benchmarks \( -name '*.h' -o -name '*.cpp' \) -print0; }
fi
list | xargs -0 --no-run-if-empty "$formatter" --dry-run -Werror
echo "formatted: $(list | tr -cd '\0' | wc -c) files"
