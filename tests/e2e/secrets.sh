#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A secret on the command line of imgctl or imgd is not seen by others while
# the program runs; what it is there for still works.
. "$(dirname "$0")/../lib/e2e.sh"
needs "$IMGCTL" "$IMGD"

truncate -s 1M disk.raw

# The first object is read from a pipe that nobody writes to: the program waits
# before it has looked at the others.
mkfifo pipe

shown()
{
	tr '\0' '\n' <"/proc/$pid/cmdline" >cmdline
	grep -q '\*\*\*' cmdline
}

# hides CMD...: it waits for the pipe; its command line can be seen, but not
# the secret.
hides()
{
	"$@" >out 2>err &
	pid=$!
	on_exit kill_server "$pid"
	wait_until shown || fail "nothing is hidden: $(cat cmdline)"
	grep -e geheim cmdline && fail 'the secret can be seen'
	grep -q -e --object cmdline
	kill -0 "$pid"
	kill_server "$pid" || true
}

first=(--object 'secret,id=first,file=pipe')
for form in secret,id=s,data=geheim secret,data=geheim,id=s \
	qom-type=secret,id=s,format=raw,data=geheim,keyid=x \
	'{"qom-type": "secret", "id": "s", "data": "geheim"}'; do
	hides "$IMGCTL" info "${first[@]}" --object "$form" disk.raw
	hides "$IMGD" "${first[@]}" --object="$form" -k "$TMP/s" disk.raw
done
hides "$IMGCTL" info "${first[@]}" --obj=secret,id=s,data=geheim disk.raw
hides "$IMGCTL" info disk.raw "${first[@]}" --object=secret,id=s,data=geheim

# What is no secret stays as it is.
hides "$IMGD" "${first[@]}" \
	--object tls-creds-psk,id=t,dir=/etc/keys,endpoint=server \
	--object secret,id=s,data=geheim --tls-creds t -k "$TMP/s" disk.raw
grep -qx tls-creds-psk,id=t,dir=/etc/keys,endpoint=server cmdline

# The secret is what was given, and messages do not quote it.
expect_exit 1 "$IMGCTL" info --object secret,id=s,data=geheim \
	--object secret,id=s,data=geheim disk.raw
expect_err 'duplicate'
grep -e geheim err && fail 'the secret is in a message'
for bad in secret,id=s,data=geheim,format=bogus \
	'{"qom-type": "secret", "id": "s", "data": "geheim"' \
	secret,id=s,data=geheim,file=disk.raw; do
	for program in "$IMGCTL info" "$IMGD"; do
		expect_exit 1 $program --object "$bad" disk.raw
		grep -e geheim err && fail 'the secret is in a message'
	done
done
true
