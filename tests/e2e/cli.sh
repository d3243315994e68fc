#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl: what all commands have in common on the command line.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"

truncate -s 1M ours/a.raw theirs/a.raw

# Standard options and the choice of a command.
agree
agree bogus
agree -q
agree --o
agree -T
agree -T bogus info a.raw
agree -T enable=bogus info a.raw
agree info -z a.raw
agree info -f raw a.raw --output=json
agree info -fraw --outp=json -- a.raw
agree map --start 4k --max-l 4k -f raw a.raw
agree compare -qs a.raw a.raw
expect_exit 1 "$IMGCTL" compare -zq ours/a.raw ours/a.raw
expect_err "unrecognized option '-z'"
expect_exit 1 "$IMGCTL" compare --force-share -qz ours/a.raw ours/a.raw
expect_err "unrecognized option '-z'"
expect_exit 0 "$IMGCTL" --trace '*' info ours/a.raw
[ ! -s err ]

# Version: the second word, or three numbers.
expect_exit 0 "$OURS" --version
head -n 1 out | grep >/dev/null -E '^qemu-img version [0-9]+\.[0-9]+\.[0-9]+ '
expect_exit 0 "$IMGCTL" -V
head -n 1 out | grep >/dev/null -E '^imgctl version [0-9.]+$'
expect_exit 1 "$IMGCTL" bogus
expect_err 'imgctl: Command not found: bogus'

# Help: what scripts look for.
expect_exit 0 "$OURS" --help
head -n 1 out | grep >/dev/null '^qemu-img version '
grep -qE '\binfo\b.*-U\b' out
grep -qE '^Supported formats:.* qcow2\b' out
grep -qE '^Supported formats:.* raw\b' out
cp out all
expect_exit 0 "$OURS" convert -h
same all out
expect_exit 0 "$OURS" -h
same all out

# mentions FILE OPTION
mentions()
{
	grep -qE -e "(^|[^-a-z])$2\b" "$1" || fail "no $2 in $1"
}

# Each command has help of its own; each option a test and its place in the
# manual.
commands=$("$IMGCTL" --help |
	awk '/^Command syntax:/ { on = 1; next } !NF { on = 0 } on { print $1 }')
[ "$(wc -w <<<"$commands")" -ge 9 ]
needs mandoc
mandoc -T ascii "$SRC/docs/imgctl.1" | col -b >manual
for cmd in $commands; do
	expect_exit 0 "$IMGCTL" "$cmd" --help
	expect_out "usage: imgctl $cmd "
	[ "$(awk 'length > 80' out | grep -cvE "^(usage|Supported formats): ")" = 0 ] ||
		fail "$cmd: help is wider than 80 columns"
	grep -qE "^     $cmd( |$)" manual || fail "$cmd is not in the manual"
	test -e "$SRC/tests/e2e/$cmd.sh" || fail "there is no $cmd.sh"
	while read -r option; do
		mentions "$SRC/tests/e2e/$cmd.sh" "$option"
		mentions manual "$option"
	done < <(grep -oE '^  -[^ ]*(, -[^ ]*)*' out | grep -oE -e '-[^ ,=]+' |
		grep -vxE -e '-h|--help')
	expect_exit 1 "$IMGCTL" "$cmd" --no-such-option
	expect_err "imgctl: unrecognized option '--no-such-option'"
	expect_err "Try 'imgctl --help' for more information"
done

# Objects.
for cmd in $commands; do
	"$IMGCTL" "$cmd" --help | grep >/dev/null -e --object || continue
	expect_exit 0 "$IMGCTL" "$cmd" --object help
	expect_out '  secret'
	expect_exit 0 "$IMGCTL" "$cmd" --object secret,help
	expect_out '  data'
	want=1
	[ "$cmd" != compare ] || want=2
	expect_exit $want "$IMGCTL" "$cmd" --object bogus,id=x
	expect_err "'bogus'"
	expect_exit $want "$IMGCTL" "$cmd" --object secret,id=x,wrong=1
	expect_err "Parameter 'wrong' is unexpected"
done
