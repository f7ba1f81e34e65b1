#!/usr/bin/env bash
# Checks that what is generated is what `make generate` makes of the sources, and that the modules are what go.sum says.
set -euo pipefail
sums() { git ls-files -z --cached --others --exclude-standard | sort -z | xargs -0 sha256sum 2>/dev/null; }
before=$(sums || true)
make --no-print-directory generate
after=$(sums || true)
if [ "$before" != "$after" ]; then
	echo "verify: make generate changed:" >&2
	diff <(echo "$before") <(echo "$after") | sed -n 's/^> [0-9a-f]*  /  /p' >&2
	exit 1
fi
go mod verify
