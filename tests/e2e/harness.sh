#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The helpers of tests/lib/e2e.sh themselves: a test that cannot fail is none.
. "$(dirname "$0")/../lib/e2e.sh"

lib=$SRC/tests/lib/e2e.sh

# Run a script of one's own that starts with the library.
script()
{
	printf '. %q\n%s\n' "$lib" "$1" >script.sh
	bash script.sh
}

# A failing command ends the script; clean-up runs, last in, first out.
expect_exit 1 script 'on_exit echo first; on_exit echo "a  b"; false; echo no'
printf 'a  b\nfirst\n' >want
same want out
expect_err 'failed: false'

# The private folder is the working folder, and is removed.
expect_exit 0 script 'pwd; touch x'
[ "$(cat out)" != "$TMP" ] && [ ! -e "$(cat out)" ]

# expect_exit: passes on the right code only; says what the command printed.
expect_exit 0 script 'expect_exit 3 sh -c "exit 3"'
expect_exit 1 script 'expect_exit 0 sh -c "echo why >&2; exit 3"'
expect_err 'exit code 3 instead of 0'
expect_err 'why'
expect_exit 1 script 'expect_exit 0 echo yes; expect_out no'
expect_exit 1 script 'echo a >a; echo b >b; same a b'
expect_err 'a and b differ'

# needs: the exit code that means skipped, and why.
expect_exit 77 script 'needs sh no-such-command'
expect_out 'no-such-command'
expect_exit 77 script 'needs /no/such/file'
expect_exit 0 script 'needs sh /'

# Signals clean up too.
expect_exit 143 script 'on_exit echo cleaned; kill -TERM $$; sleep 9'
expect_out cleaned

# Only what a script has started is killed: the number of a process that has
# ended may be that of any other.
sleep 60 &
other=$!
on_exit kill_server "$other"
expect_exit 0 script "kill_server $other; kill_daemon $other || true"
kill -0 "$other"
expect_exit 137 script 'sleep 60 & kill_server $!'
expect_exit 0 script 'touch x
	(tail -f "$TMP/x" & echo $! >pid)
	wait_until kill_daemon "$(cat pid)"'

# Test data is the same on each run.
random_file a 1500000 7
random_file b 1500000 7
random_file c 1500000 8
same a b
expect_exit 1 script "same $TMP/a $TMP/c"
[ "$(stat -c %s a)" = 1500000 ]

# The reference, where it could not tell how fast it is, is asked again.
cat >peer <<'END'
#!/bin/sh
echo "$*" >>calls
[ "$(wc -l <calls)" -gt 2 ] || {
	echo 'x: Unable to get accurate CPU usage' >&2
	exit 1
}
echo done
echo said >&2
exit 3
END
chmod +x peer
for args in 'create -f luks x' 'amend -o state=active,new-secret=n'; do
	rm -f calls
	QEMU_IMG=$TMP/peer expect_exit 3 qemu-img $args
	[ "$(sort -u calls)" = "$args" ] && [ "$(wc -l <calls)" = 3 ]
	[ "$(cat out err)" = "done
said" ]
done
rm calls
QEMU_IMG=$TMP/peer expect_exit 1 qemu-img info x

# A server that does not come up is an error, with what it said.
needs nbdkit
expect_exit 1 script 'start_nbdkit memory size=bad-size'
expect_err 'bad-size'
expect_exit 0 script 'start_nbdkit memory size=1M; listening $SOCK; stop_server
	! listening $SOCK'
