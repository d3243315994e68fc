#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every program that speaks NBD, with imgd: plain, and over TLS with
# certificates and with keys; raw and qcow2.
#
# A cell of the matrix is one of these programs with one way to connect and one
# format.  It begins with a fresh image, reads all of it, changes it where the
# program can write, and ends with the image compared with expected.raw by
# qemu-img, without a server.  A server that has TLS takes nobody without it.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/pki.sh"
LOCALFILE=${LOCALFILE:-$SRC/build/tests/interop/liblocalfile.so}
needs certtool psktool nbdinfo nbdcopy nbdsh nbdkit qemu-img qemu-io qemu-nbd \
	fio "$IMGD" "$LOCALFILE"

programs=(nbdinfo nbdcopy nbdsh qemu_img qemu_io qemu_nbd nbdkit fio)

new_ca ca
new_cert ca server server 'cn = "localhost"' 'dns_name = "localhost"'
new_cert ca alice client 'cn = "alice"'
mkdir keys
psktool -u alice -p keys/keys.psk >psk.log 2>&1

random_file data.raw 3014656
truncate -s 16M data.raw
random_file new.raw 2000000 2
truncate -s 16M new.raw
qemu-img convert -f raw -O qcow2 data.raw data.qcow2

# ---- ways to connect ---------------------------------------------------------

# Each sets: of the server its options; of the peers the URI, the options of
# qemu's programs, and those of nbdkit's plugin.
connect_plain()
{
	server_args=()
	uri="nbd+unix:///?socket=$SOCK"
	qemu_args=()
	list_args=()
	tls_option=
	nbdkit_args=("socket=$SOCK")
}

# connect_tls TYPE DIR ARGS-OF-THE-CLIENT
connect_tls()
{
	server_args=(--tls-creds tls
		--object "tls-creds-$1,id=tls,endpoint=server,dir=$2")
	qemu_args=(--object "tls-creds-$1,id=c,endpoint=client,$3")
	list_args=(--tls-creds c --tls-hostname localhost)
	tls_option=,file.tls-creds=c,file.tls-hostname=localhost
	nbdkit_args=("socket=$SOCK" tls=require)
}

connect_x509()
{
	connect_tls x509 "$TMP/server" "dir=$TMP/alice"
	uri="nbds+unix:///?socket=$SOCK&tls-certificates=$TMP/alice"
	nbdkit_args+=("tls-certificates=$TMP/alice")
}

connect_psk()
{
	connect_tls psk "$TMP/keys" "dir=$TMP/keys,username=alice"
	uri="nbds+unix://alice@/?socket=$SOCK&tls-psk-file=$TMP/keys/keys.psk"
	nbdkit_args+=(tls-username=alice "tls-psk=$TMP/keys/keys.psk")
}

# ---- programs ----------------------------------------------------------------

# Each has $uri, $image, the options above, and expected.raw, which holds what
# is served; it changes that as it changes what is served.

# Holes and data as qemu-img sees them in the image.
program_nbdinfo()
{
	nbdinfo --json "$uri" >info.json
	nbdinfo --map --json "$uri" >theirs.json
	qemu-img map -U -f "$format" --output=json "$image" >want.json
	python3 - "$way" <<'END'
import json, sys

def load(name):
    with open(name) as f:
        return json.load(f)

def runs(pieces):
    out = []
    for start, length, data in pieces:
        if out and out[-1][2] == data:
            out[-1] = (out[-1][0], out[-1][1] + length, data)
        else:
            out.append((start, length, data))
    return out

info = load("info.json")
export = info["exports"][0]
want = {"export-size": 16 << 20, "is_read_only": False, "can_flush": True,
        "can_fua": True, "can_trim": True, "can_zero": True,
        "can_fast_zero": True, "can_multi_conn": True, "can_cache": True,
        "can_df": True, "is_rotational": False, "block_size_minimum": 1,
        "block_size_maximum": 32 << 20, "description": "a disk"}
assert info["TLS"] == (sys.argv[1] != "plain"), info
assert info["protocol"] == "newstyle-fixed" and info["structured"], info
assert export.items() >= want.items(), export
ours = runs((x["offset"], x["length"], x["type"] == 0)
            for x in load("theirs.json"))
assert len(ours) > 1, ours
assert ours == runs((x["start"], x["length"], x["data"] and not x["zero"])
                    for x in load("want.json")), ours
END
}

program_nbdcopy()
{
	nbdcopy --connections=4 "$uri" out.raw
	same expected.raw out.raw
	nbdcopy --connections=4 --flush new.raw "$uri"
	cp new.raw expected.raw
}

program_nbdsh()
{
	URI=$uri nbdsh -c - <<'END'
import os
with open("expected.raw", "rb") as f:
    model = bytearray(f.read())
h.set_uri_allow_local_file(True)
h.add_meta_context("base:allocation")
h.connect_uri(os.environ["URI"])
assert h.get_size() == len(model)
MiB = 1 << 20
for at in range(0, len(model), MiB):
    assert h.pread(MiB, at) == model[at:at + MiB]
h.pwrite(b"x" * 70001, 1000001)
model[1000001:1070002] = b"x" * 70001
h.pwrite(b"y" * 512, 9 * MiB, nbd.CMD_FLAG_FUA)
model[9 * MiB:9 * MiB + 512] = b"y" * 512
h.zero(300000, 65, nbd.CMD_FLAG_NO_HOLE)
model[65:300065] = bytes(300000)
h.zero(MiB, 2 * MiB, nbd.CMD_FLAG_FAST_ZERO)
model[2 * MiB:3 * MiB] = bytes(MiB)
h.trim(MiB, 12 * MiB)
h.cache(MiB, 0)
h.flush()
extents = []
h.block_status(len(model), 0, lambda m, off, e, err: extents.extend(e))
assert sum(extents[::2]) == len(model), extents
for at in range(0, len(model), MiB):
    assert h.pread(MiB, at) == model[at:at + MiB]
h.shutdown()
with open("expected.raw", "wb") as f:
    f.write(model)
END
}

program_qemu_img()
{
	qemu-img convert "${qemu_args[@]}" --image-opts "$qemu_name" -O raw \
		out.raw
	same expected.raw out.raw
	# -n takes the target as a name, or as options with the source.
	qemu-img convert "${qemu_args[@]}" -n --image-opts --target-image-opts \
		driver=raw,file.driver=file,file.filename=new.raw "$qemu_name"
	cp new.raw expected.raw
	expect_exit 0 qemu-img compare "${qemu_args[@]}" --image-opts \
		driver=raw,file.driver=file,file.filename=expected.raw \
		"$qemu_name"
}

# The same changes to a local file.
program_qemu_io()
{
	local commands=(-c 'write -P 7 1000001 3001' -c 'read -P 7 1000001 3001'
		-c 'write -f -P 8 5M 70k' -c 'read -P 8 5M 70k'
		-c 'write -z 8M 100k' -c 'read -P 0 8M 100k'
		-c 'write -z -u 1M 1M' -c 'read -P 0 1M 1M'
		-c 'discard 12M 1M' -c 'read -P 0 12M 1M' -c flush)
	expect_exit 0 qemu-io "${qemu_args[@]}" --image-opts "${commands[@]}" \
		"$qemu_name"
	grep -q 'verification failed' out && fail "$(cat out)"
	expect_exit 0 qemu-io -f raw "${commands[@]}" expected.raw
}

# A list: it reads no contents.
program_qemu_nbd()
{
	expect_exit 0 qemu-nbd -L -k "$SOCK" "${qemu_args[@]}" \
		"${list_args[@]}"
	expect_out 'exports available: 1'
	expect_out 'description: a disk'
	expect_out 'size:  16777216'
	expect_out 'base:allocation'
	expect_out 'qemu:allocation-depth'
}

# A server that is our client, between nbdcopy and us.
program_nbdkit()
{
	nbdkit -U - nbd "${nbdkit_args[@]}" --run 'nbdcopy "$uri" out.raw'
	same expected.raw out.raw
	nbdkit -U - nbd "${nbdkit_args[@]}" \
		--run 'nbdcopy --flush new.raw "$uri"'
	cp new.raw expected.raw
}

# What it writes has checksums: read through the server, and from the image.
fio_job=(--name=a --rw=randwrite --bsrange=512-70000 --bs_unaligned=1 --size=8M
	--offset=1M --iodepth=16 --thread --verify=crc32c --verify_fatal=1)
program_fio()
{
	expect_exit 0 env LD_PRELOAD="$LOCALFILE" fio --ioengine=nbd \
		"--uri=$uri" "${fio_job[@]}"
}

after_fio()
{
	qemu-img convert -f "$format" -O raw "$image" expected.raw
	expect_exit 0 fio --ioengine=psync --filename="$TMP/expected.raw" \
		"${fio_job[@]}" --verify_only
	cmp -s data.raw expected.raw && fail 'fio wrote nothing'
	return 0
}

# ---- the matrix --------------------------------------------------------------

# run_cell WAY PROGRAM FORMAT
run_cell()
{
	way=$1 format=$3 image=disk.$3
	echo "$1 $2 $3"
	cp "data.$format" "$image"
	cp data.raw expected.raw
	SOCK=$TMP/server-$((server_n + 1)).sock
	"connect_$way"
	qemu_name="driver=raw,file.driver=nbd,file.server.type=unix,$(
	)file.server.path=$SOCK$tls_option"
	start_imgd -A -e 0 -f "$format" --discard=unmap -D 'a disk' \
		"${server_args[@]}" "$image"
	"program_$2"
	stop_server
	! declare -F "after_$2" >/dev/null || "after_$2"
	expect_exit 0 qemu-img compare -f raw -F "$format" expected.raw "$image"
	[ "$format" = raw ] || expect_exit 0 qemu-img check "$image"
}

# Where it ends before its end, the last line says which cell it was.
for way in plain x509 psk; do
	for program in "${programs[@]}"; do
		for format in raw qcow2; do
			run_cell "$way" "$program" "$format"
		done
	done
done
