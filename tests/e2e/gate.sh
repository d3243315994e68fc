#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Images that name other files, in every place where a format can: what is
# opened is what the gate allows, whatever the name is.  The system calls tell.
. "$(dirname "$0")/../lib/e2e.sh"
needs strace timeout mkfifo nbdkit nbdinfo python3 "$IMGCTL" "$IMGD" "$PLUGIN"
strace -o /dev/null true || skip 'no process may be traced here'

mkdir in far
truncate -s 1M far/secret
ln -s ../far/secret in/link
mkfifo in/pipe
exec 9<far/secret

# What `map` opens, by the place of the name ("-": nothing), and the name, with
# Python's escapes.  qcow: also qcow2 and QED.  in: an absent file beside it.
cat >table <<END
#    qcow   data   parent extent vhd    vhdx   name
rel  secret secret secret -      secret secret ../far/secret
abs  secret secret secret -      secret secret $TMP/far/secret
link link   link   link   link   link   link   link
zero zero   zero   zero   -      zero   zero   /dev/zero
fifo pipe   pipe   pipe   pipe   pipe   pipe   pipe
fd   fd     fd     fd     -      fd     fd     /proc/self/fd/9
gone gone   gone   gone   -      gone   gone   ../far/gone
nbd  nbd    -      nbd    -      -      in     nbd://127.0.0.1:1/x
nbdu nbd    -      nbd    -      -      in     nbd:127.0.0.1:1
http -      -      -      -      -      in     http://127.0.0.1:1/x
json secret -      -      -      -      in     json:{"driver":"raw","file":{"driver":"file","filename":"$TMP/far/secret"}}
tree nbd    -      -      -      -      in     json:{"driver":"nbd","host":"127.0.0.1","port":"1"}
nul  in     in     in     -      -      -      a\\x00b
line in     in     in     -      in     in     a\\nb
esc  in     in     in     in     in     in     a\\x1b]0;owned\\x07\\x9b31m
lone in     in     in     in     -      -      a\\ud800b
low  in     in     in     in     -      -      \\udc00
END
sed 1d table | awk '{ print $1, $8 }' >names
python3 "$SRC/tests/lib/naming.py" in "$IMGCTL" <names

# What map is to open, image by image; on stderr the images that cannot be
# opened at all: their name is none, or they have no extent.
python3 - >want 2>damaged <<'END'
import sys
places = {"backing.qcow2": 1, "qcow": 1, "qed": 1, "data.qcow2": 2,
          "parent.vmdk": 3, "extent.vmdk": 4, "vhd": 5, "vhdx": 6}
with open("table") as table:
    rows = [line.split() for line in table][1:]
for row in rows:
    for place, i in places.items():
        if row[i] != "-":
            print(f"in/{row[0]}.{place}", row[i])
        if place in ("vhd", "vhdx") and row[i] == "-" or \
                place == "extent.vmdk" and row[i] != "link":
            print(f"in/{row[0]}.{place} 1", file=sys.stderr)
END

# strace's log -> what each command opened or connected to, besides its image
# and what belongs to the system.
cat >opened.py <<'END'
import os
import re
import sys
known = {"in/../far/secret": "secret", os.getcwd() + "/far/secret": "secret",
         "in/../far/gone": "gone", "in/link": "link", "in/pipe": "pipe",
         "/dev/zero": "zero", "/proc/self/fd/9": "fd"}
system = re.compile(r"/(lib|usr|etc|sys|proc/(?!self/fd))|"
                    r"/dev/(null|tty|urandom)|(in/|(.*/)?said\..*|.*\.so[.0-9]*)$")
image, seen, own_seen = {}, set(), set()
for line in open(sys.argv[1], errors="replace"):
    pid, call = line.split(maxsplit=1)
    named = re.search(r'"(?:[^"]*/)?(in/[a-z]+\.[a-z0-9.]+)"', call)
    if call.startswith("execve("):
        if named:
            image[pid] = named.group(1)
        continue
    if call.startswith("connect("):
        what = "nbd" if "htons(1)" in call else None
    else:
        path = re.search(r'"((?:[^"\\]|\\.)*)"', call)
        path = path.group(1) if path else ""
        own = image.get(pid, "-")
        what = known.get(path)
        if path.removeprefix(os.getcwd() + "/") == own:
            own_seen.add(own)
        elif not what and path and not system.match(path):
            what = "in" if re.match(r"(.*/)?in/", path) else path
    if what:
        seen.add(image.get(pid, "?") + " " + what)
if len(own_seen) < 100 or own_seen != set(image.values()):
    sys.exit("not all images were opened")
for line in sorted(seen):
    print(line)
END

# The format of an image is no matter of what is tested.
format_of()
{
	case $1 in
	*.vhd) echo vpc ;;
	*) echo "${1##*.}" ;;
	esac
}

# What it said is one line, and nothing that a terminal would obey.
one_message()
{
	[ "$(wc -l <"$1")" = 1 ] || fail "not one message: $(cat -v "$1")"
	if grep -qP '[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' "$1"
	then
		fail "control characters: $(cat -v "$1")"
	fi
}

# each CMD...: with -f FORMAT IMAGE (nbdkit: format=FORMAT IMAGE) behind it, for
# every image; all end in time, with 0 or one message.
each()
{
	local image rc format
	for image in in/*.*; do
		format=$(format_of "$image")
		rc=0
		if [ "$1" = nbdkit ]; then
			timeout 10 "$@" "format=$format" "$image" --run true
		else
			timeout 10 "$@" -f "$format" "$image"
		fi >said.out 2>said.err || rc=$?
		[ "$rc" -le 1 ] || fail "exit code $rc: $* $image"
		[ "$rc" = 0 ] || one_message said.err
		echo "$image $rc" >>said.codes
	done
}

# traced CMD...: the same; what each opened is in the file `opened`.
export -f each format_of one_message fail
traced()
{
	rm -f said.codes
	strace -f --seccomp-bpf -qq -s 4096 -e trace=open,openat,connect,execve \
		-e signal=none -o trace \
		bash -c 'set -eu; each "$@"' each "$@" || fail "$*"
	python3 opened.py trace >opened
}

# is FILE: these are all that were opened.
is()
{
	diff -u "$1" opened >&2 || fail 'not what is to be opened'
}

# Nothing for metadata, also where there is no such file; but extents, which
# are the disk itself.
sort -o want want
grep '\.extent\.' want >want-extents
traced "$IMGCTL" info
is want-extents
grep -v ' 0$' said.codes | sort >failed
sort damaged | diff -u - failed >&2 || fail 'not what info can read'

# Nothing where that is not allowed, and each is refused.
: >nothing
for server in "nbdkit -U - $PLUGIN backing=deny" \
	"$IMGD -s --backing=deny --run true"; do
	# shellcheck disable=SC2086
	traced $server
	is nothing
	if grep ' 0$' said.codes; then
		fail "served an image that names another file: $server"
	fi
done

# All that the table has where it is allowed, and no more.
traced "$IMGCTL" map
is want

# Others that open them do so in time, with one message.
for image in in/*.{backing.qcow2,data.qcow2,extent.vmdk,vhdx}; do
	rc=0
	timeout 10 "$IMGCTL" check -f "$(format_of "$image")" "$image" \
		>said.out 2>said.err || rc=$?
	[ "$rc" -le 3 ] || fail "exit code $rc: check $image"
	[ "$rc" != 1 ] || one_message said.err
	rc=0
	timeout 10 "$IMGCTL" convert -f "$(format_of "$image")" -O raw \
		"$image" raw 2>said.err || rc=$?
	[ "$rc" -le 1 ] || fail "exit code $rc: convert $image"
	[ "$rc" = 0 ] || one_message said.err
	rc=0
	timeout 10 "$IMGD" -r -f "$(format_of "$image")" --run true \
		"$image" 2>said.err || rc=$?
	[ "$rc" -le 1 ] || fail "exit code $rc: imgd $image"
	[ "$rc" = 0 ] || one_message said.err
done

# The chain is shown when it is asked for, with what names it.
expect_exit 0 "$IMGCTL" info -f qcow2 --backing-chain in/rel.backing.qcow2
expect_out 'image: in/../far/secret'
expect_exit 1 "$IMGCTL" info -f qcow2 --backing-chain in/gone.backing.qcow2
expect_err "'in/../far/gone'"

# A refusal names the image, the name in it, and why.
expect_exit 1 nbdkit -U - "$PLUGIN" backing=deny in/abs.data.qcow2
expect_err "in/abs.data.qcow2: names the data file '$TMP/far/secret', and"
expect_err 'opening other files is not allowed'
expect_exit 1 nbdkit -U - "$PLUGIN" backing=deny in/esc.vhd
expect_err "names the backing file 'a\\x1b]0;owned\\x07\\xc2\\x9b31m', and"
expect_exit 1 "$IMGCTL" map in/rel.extent.vmdk
expect_err "names the extent '../far/secret', which is not in the folder"

# A folder of exports: what cannot be opened is not there, and stops nobody.
start_imgd -v -r --exports-dir in
for image in fifo.backing.qcow2 http.qcow esc.qed nbd.parent.vmdk zero.vhd \
	abs.extent.vmdk lone.vhdx; do
	expect_exit 1 timeout 10 nbdinfo "nbd+unix:///$image?socket=$SOCK"
	expect_err 'No such file'
done
expect_exit 0 timeout 10 nbdinfo --size \
	"nbd+unix:///rel.backing.qcow2?socket=$SOCK"
stop_server
grep owned "server-$server_n.log" | sort -u >said.err
one_message said.err

# The same where only some may name others.
start_imgd -r --backing=deny --exports-dir in
expect_exit 1 timeout 10 nbdinfo "nbd+unix:///rel.backing.qcow2?socket=$SOCK"
expect_err 'No such file'
stop_server
start_imgd -r --export free=in/rel.backing.qcow2 \
	--export kept=in/link,format=raw,backing=deny
expect_exit 0 nbdinfo --size "nbd+unix:///free?socket=$SOCK"
expect_exit 0 nbdinfo --size "nbd+unix:///kept?socket=$SOCK"
stop_server
