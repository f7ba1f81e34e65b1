#!/usr/bin/env bash
# Runs govulncheck, where its database can be reached. A known vulnerability in code that is called fails; a network
# without the database is said and passes.
set -uo pipefail
out=$(bin/tools/govulncheck ./... 2>&1)
code=$?
if [ $code -ne 0 ] && grep -q 'fetching vulnerabilities' <<<"$out"; then
	echo "govulncheck: NOT CHECKED, the vulnerability database can't be reached from here"
	exit 0
fi
echo "$out"
exit $code
