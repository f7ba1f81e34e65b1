#!/usr/bin/env bash
# Installs what the tests need of the system, and only that: real database servers, two browsers, a proxy, a tracer.
# Without root, or on a system without apt, it says what is missing and fails. Nothing is started.
set -euo pipefail

declare -A has=(
	[postgresql]='compgen -G "/usr/lib/postgresql/*/bin/initdb" || command -v initdb'
	[redis-server]='command -v redis-server'
	[chromium]='command -v chromium'
	[firefox-esr]='command -v firefox-esr'
	[nginx]='test -x /usr/sbin/nginx || command -v nginx'
	[strace]='command -v strace'
	[gcc]='command -v gcc' # the race detector links with it
	[libc6-dev]='test -e /usr/include/stdlib.h'
	[protobuf-compiler]='command -v protoc' # make verify makes the generated code again
)

missing=()
for package in "${!has[@]}"; do
	eval "${has[$package]}" >/dev/null 2>&1 || missing+=("$package")
done
for tool in go node npm git; do
	command -v "$tool" >/dev/null || { echo "setup: $tool is not installed" >&2; exit 1; }
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "setup: the tests need ${missing[*]}: install them, for example with apt-get" >&2
	exit 1
fi

# Debian starts a server when its package is installed; the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	trap 'rm -f "$policy"' EXIT
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
