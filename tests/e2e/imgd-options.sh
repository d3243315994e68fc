#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: command lines that are wrong get the reference's message and exit code.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-nbd qemu-img nbdinfo "$IMGD"

truncate -s 1M raw.img
qemu-img create -q -f qcow2 disk.qcow2 1M
ln -s "$IMGD" qemu-nbd
long=$(printf %05000d 1)

# check ARGS...: qemu-nbd refuses them, and imgd under that name says the same.
# (With -k where the reference has a socket before it looks: the usual port may
# be somebody else's.  It leaves that socket.)
check()
{
	expect_exit 1 qemu-nbd "$@"
	mv err want
	expect_exit 1 ./qemu-nbd "$@"
	same want err
	[ ! -s out ]
}

check
check raw.img disk.qcow2
check --bogus raw.img
check -p
check -k relative raw.img
check -e x raw.img
check -e -1 raw.img
check -e 99999999999 raw.img
check -o 2097152 -k "$TMP/s" -f raw raw.img
check -n --cache=none raw.img
check --cache=bogus raw.img
check --discard=bogus raw.img
check --discard=on --discard=off raw.img
check --aio=bogus raw.img
check --aio=threads --aio=native raw.img
check -k "$TMP/t" --aio=native -f raw raw.img
check --detect-zeroes=bogus raw.img
check --detect-zeroes=unmap raw.img
check -T bogus=1 raw.img
check -L --aio=threads
check -k "$TMP/t" -s -f qcow2 raw.img
check -k "$TMP/t" --image-opts -f raw driver=raw
check -k "$TMP/t" -f bogus raw.img
check -k "$TMP/t" -f qcow2 raw.img
check -k "$TMP/t" nope
check -x "$long" -f raw raw.img
check -D "$long" -f raw raw.img
check -p bogus -f raw raw.img
check -b 203.0.113.1 -f raw raw.img
check -k /no/such/folder/s -f raw raw.img
check -k "/${long:0:200}" -f raw raw.img
check -k "$TMP/s" --pid-file=/no/such/folder/pid -f raw raw.img
check -k "$TMP/t" --image-opts driver=raw,file.filename=nope
check -k "$TMP/t" -B nope -f raw raw.img
check -k "$TMP/t" -B nope disk.qcow2
[ ! -e s ]

# What the reference does not refuse, or does not have.
expect_exit 1 "$IMGD" -k "$TMP/s" -p 1 raw.img
expect_err 'imgd: -k cannot be used with -p or -b'
expect_exit 0 "$IMGD" -o 512k -f raw raw.img --run 'nbdinfo --size "$uri"'
expect_out 524288
expect_exit 1 "$IMGD" -o 512x -f raw raw.img
expect_err "imgd: Invalid offset '512x'"
for rate in x -1 0 65535 9E; do
	expect_exit 1 "$IMGD" --client-rate="$rate" raw.img
	expect_err "imgd: Invalid client rate '$rate'"
done
for n in 0 4097 x; do
	expect_exit 1 "$IMGD" --client-requests="$n" raw.img
	expect_err "imgd: Invalid number of requests '$n'"
done
expect_exit 1 "$IMGD" --handshake-limit=x raw.img
expect_err "imgd: Invalid handshake limit 'x'"
expect_exit 1 "$IMGD" -k "$TMP/raw.img" -f raw raw.img
expect_err "Failed to bind socket to $TMP/raw.img: File exists"
expect_exit 1 "$IMGD" -l nope disk.qcow2
expect_err "Can't find snapshot"

# Devices of the kernel, which it may not have: nothing is touched that is no
# such device, and what is wrong is said before the command returns.
check -d
check -d raw.img disk.qcow2
check -L -d
check -L -c /dev/nbd0
check -c /dev/nbd0 --tls-creds x -f raw raw.img
for option in '-d' '-f raw raw.img -c'; do
	# shellcheck disable=SC2086
	device()
	{
		expect_exit 1 timeout 20 "$IMGD" $option "$1"
		expect_err "$2"
	}
	device /dev/nbd999 'imgd: Failed to open /dev/nbd999: No such file'
	expect_err 'modprobe nbd'
	device "$TMP/raw.img" "$TMP/raw.img: not a block device"
	device /dev/null '/dev/null: not a block device'
	other=$(find /dev -maxdepth 1 -type b '(' -name loop0 -o -name '[vs]da' ')' \
		-print -quit)
	[ -z "$other" ] || device "$other" 'not a network block device'
done
expect_exit 1 "$IMGD" -c /dev/nbd0 --disconnect raw.img
expect_err 'imgd: -c and -d are mutually exclusive'
expect_exit 1 "$IMGD" --connect /dev/nbd0 --export a=raw.img
expect_err 'imgd: -c and -d cannot be used with --export or --exports-dir'

expect_exit 1 "$IMGD" --export a=raw.img,detect-zeroes=unmap
expect_err 'not allowed without setting discard operation to unmap'
expect_exit 0 "$IMGD" --trace 'nbd_*' -T file=/nope,enable=one -r raw.img \
	--run true
expect_err "imgd: warning: trace event 'one' does not exist"
# No kernel knows this label, and one without SELinux knows none.
expect_exit 1 "$IMGD" --selinux-label=bogus -f raw -k "$TMP/s" raw.img
expect_err 'Cannot set SELinux socket create context to bogus'
[ ! -e s ]
for aio in threads io_uring native; do
	expect_exit 0 "$IMGD" --aio=$aio --cache=directsync -f raw raw.img \
		--run true
	[ ! -s err ]
done

# Images that name others (gate.sh has all the places of a name).
qemu-img create -q -f qcow2 -b raw.img -F raw top.qcow2
expect_exit 0 "$IMGD" --backing=allow top.qcow2 --run true
expect_exit 1 "$IMGD" --backing=deny top.qcow2 --run true
expect_err "names the backing file 'raw.img', and opening other files is not"
expect_exit 0 "$IMGD" --backing deny -s disk.qcow2 --run true
expect_exit 1 "$IMGD" --export a=top.qcow2,backing=deny --run true
expect_err "names the backing file 'raw.img', and opening other files is not"
expect_exit 0 "$IMGD" --backing=deny --export a=top.qcow2,backing=allow \
	--run true
expect_exit 1 "$IMGD" --backing=none disk.qcow2
expect_err "imgd: --backing must be allow or deny, not 'none'"
expect_exit 1 "$IMGD" --export a=disk.qcow2,backing=none
expect_err "Invalid backing mode \`none'"

# A raw image that was not said to be raw.
expect_exit 0 "$IMGD" raw.img --run true
expect_err "WARNING: Image format was not specified for 'raw.img'"
[ "$(wc -l <err)" = 3 ]
expect_exit 0 "$IMGD" -r raw.img --run true
[ ! -s err ]

expect_exit 0 "$IMGD" --help
expect_out '--handshake-limit'
expect_exit 0 "$IMGD" --version
[[ $(cat out) =~ ^imgd\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
expect_exit 0 ./qemu-nbd --version
[[ $(cat out) =~ ^qemu-nbd\ [0-9]+\.[0-9]+\.[0-9]+ ]]

# Each option has a test, and its place in the manual.
"$IMGD" --help | grep -oE '^ +(-[a-zA-Z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+' \
	>options
[ "$(wc -l <options)" -gt 25 ]
while read -r option; do
	grep -qE "Fl -${option#--}( |$)" "$SRC/docs/imgd.1" ||
		fail "$option is not in the manual"
	short=$("$IMGD" --help | sed -n "s/^  \(-.\), $option.*/\1/p")
	grep -qE -e "(^|[^-a-z])(${short:-$option}|$option)\\b" \
		"$SRC"/tests/e2e/imgd-*.sh ||
		fail "no test has $option"
done <options
