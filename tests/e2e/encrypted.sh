#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Encrypted images of each kind: served by imgd and by nbdkit, written, and read
# again by the reference; every command of imgctl, however the image is named;
# no key where others can see it.
. "$(dirname "$0")/../lib/e2e.sh"
needs "$IMGD" "$PLUGIN" nbdkit nbdcopy nbdinfo openssl jq qemu-img qemu-io

# ---- secrets: each form of them ---------------------------------------------

printf geheim >pass
printf 0123456789abcdef0123456789abcdef >master
printf 0123456789abcdef >iv
hex()
{
	od -An -v -tx1 "$1" | tr -d ' \n'
}
sealed=$(openssl enc -aes-256-cbc -K "$(hex master)" -iv "$(hex iv)" <pass |
	base64 -w 0)
master=secret,id=m,file=$TMP/master
forms=("secret,id=s,data=geheim" "secret,id=s,file=$TMP/pass"
	"secret,id=s,format=base64,data=$(base64 pass)"
	"secret,id=s,keyid=m,iv=$(base64 iv),format=base64,data=$sealed")
secret=(--object "$master" --object "${forms[1]}")
wrong=(--object "secret,id=s,data=verkehrt")

# ---- images -----------------------------------------------------------------

head -c 300k /dev/urandom >plain.raw
truncate -s 1M plain.raw
head -c 500k /dev/urandom >>plain.raw
truncate -s 2M plain.raw
cp plain.raw changed.raw
changes=(-c 'write -P 7 30001 70001' -c 'write -P 8 1900k 5k'
	-c 'write -z 1200k 100k')
expect_exit 0 qemu-io -f raw "${changes[@]}" changed.raw

kinds='luks1 luks2 qcow2-luks qcow2-aes qcow-aes'
declare -A format=([luks1]=luks [luks2]=luks [qcow2-luks]=qcow2
	[qcow2-aes]=qcow2 [qcow-aes]=qcow)
luks=key-secret=s,iter-time=1
aes=encrypt.format=aes,encrypt.key-secret=s
declare -A options=([luks1]="$luks"
	[luks2]="$luks,version=2,pbkdf=pbkdf2"
	[qcow2-luks]="encrypt.format=luks,encrypt.${luks/,/,encrypt.}"
	[qcow2-aes]="$aes" [qcow-aes]="$aes")

# key KIND: the option that names the secret.
key()
{
	[ "${format[$1]}" = luks ] || printf encrypt.
	echo key-secret
}

# opts KIND FILE, json KIND FILE: the two ways of naming an image.
opts()
{
	echo "driver=${format[$1]},$(key "$1")=s,file.filename=$2"
}

json()
{
	echo "json:{\"driver\": \"${format[$1]}\", \"$(key "$1")\": \"s\",$(
	) \"file\": {\"driver\": \"file\", \"filename\": \"$TMP/$2\"}}"
}

make()
{
	expect_exit 0 "$IMGCTL" convert "${secret[@]}" -O "${format[$1]}" \
		-o "${options[$1]}" plain.raw "$2"
}

# holds RAW KIND FILE: the reference finds it there too, where it can.
holds()
{
	expect_exit 0 "$IMGCTL" compare "${secret[@]}" --image-opts \
		"driver=raw,file.filename=$1" "$(opts "$2" "$3")"
	[ "$2" = luks2 ] || expect_exit 0 qemu-img compare "${secret[@]}" \
		--image-opts "driver=raw,file.filename=$1" "$(opts "$2" "$3")"
}

# ---- imgd -------------------------------------------------------------------

hidden()
{
	tr '\0' '\n' <"/proc/$SERVER_PID/cmdline" >cmdline
	[ "$(grep -c -e geheim -e verkehrt cmdline)" = 0 ]
}

for kind in $kinds; do
	make $kind disk
	for form in "${forms[@]}"; do
		start_imgd --object "$master" --object "$form" -r --image-opts \
			"$(opts $kind disk)"
		hidden || fail 'the key is on the command line'
		nbdcopy "$URI" got.raw
		same plain.raw got.raw
		stop_server
	done
	# Block status is what imgctl says.
	expect_exit 0 "$IMGCTL" map "${secret[@]}" --output=json --image-opts \
		"$(opts $kind disk)"
	jq -c '[.[] | [.start, .length, .data, .zero]]' out >map
	start_imgd "${secret[@]}" --image-opts "$(opts $kind disk)"
	nbdinfo --json --map "$URI" | jq -c '[.[] | [.offset, .length,
		(.type % 2 == 0), (.type >= 2)]]' >served
	same map served
	case $kind in
	luks*) [ "$(jq 'map(select(.[2])) | length' map)" = 1 ] ;;
	*) [ "$(jq 'map(select(.[2] | not)) | length' map)" -ge 1 ] ;;
	esac
	expect_exit 0 qemu-io -f raw "${changes[@]}" "$URI"
	nbdcopy "$URI" got.raw
	same changed.raw got.raw
	stop_server
	holds changed.raw $kind disk
	# With -s what is written goes nowhere.
	was=$(sha disk)
	start_imgd "${secret[@]}" -s --image-opts "$(opts $kind disk)"
	expect_exit 0 qemu-io -f raw -c 'write -P 9 0 2M' -c 'read -P 9 0 2M' "$URI"
	stop_server
	[ "$(sha disk)" = "$was" ] || fail "-s: the image was written"
	[[ $kind != *aes ]] || continue
	for name in "$(json $kind disk)" "$(opts $kind disk)"; do
		args=("$name")
		[[ $name == json:* ]] || args=(--image-opts "$name")
		expect_exit 1 "$IMGD" -k "$TMP/s" "${wrong[@]}" "${args[@]}"
		expect_err 'Invalid password, cannot unlock any keyslot'
		[ "$(wc -l <err)" = 1 ] || fail 'not one message'
		expect_exit 1 "$IMGCTL" map "${wrong[@]}" "${args[@]}"
		expect_err 'Invalid password, cannot unlock any keyslot'
		[ "$(grep -c -e verkehrt -e geheim err)" = 0 ] ||
			fail 'a key is in a message'
	done
done
make luks1 disk
expect_exit 1 "$IMGD" -k "$TMP/s" --image-opts "$(opts luks1 disk)"
expect_err "No secret with id 's'"

# ---- nbdkit -----------------------------------------------------------------

for kind in $kinds; do
	make $kind disk
	for form in "${forms[@]:1}"; do
		[[ $form != *base64* || $form == *keyid* ]] || continue
		start_nbdkit "$PLUGIN" object="$master" object="$form" \
			"$(json $kind disk)"
		hidden || fail 'the key is on the command line'
		nbdcopy "$URI" got.raw
		same plain.raw got.raw
		stop_server
	done
	start_nbdkit "$PLUGIN" object="${forms[1]}" "$(json $kind disk)"
	nbdinfo --json --map "$URI" | jq -c '[.[] | [.offset, .length,
		(.type % 2 == 0), (.type >= 2)]]' >served
	expect_exit 0 "$IMGCTL" map -U "${secret[@]}" --output=json --image-opts \
		"$(opts $kind disk)"
	jq -c '[.[] | [.start, .length, .data, .zero]]' out >map
	same map served
	expect_exit 0 qemu-io -f raw "${changes[@]}" "$URI"
	stop_server
	holds changed.raw $kind disk
done
printf verkehrt >other
make luks2 disk
expect_exit 1 nbdkit -U - "$PLUGIN" "object=secret,id=s,file=$TMP/other" \
	"$(json luks2 disk)" --run 'echo served'
expect_err 'Invalid password, cannot unlock any keyslot'
[ ! -s out ] || fail 'it was served'
# ---- commands ---------------------------------------------------------------

# each NAME...: of the image, as --image-opts or json:, to every command.
each()
{
	local check=0
	[[ $kind != luks* ]] || check=63
	expect_exit 0 "$IMGCTL" info "${secret[@]}" "$@"
	expect_out 'encrypted: yes'
	expect_exit 0 "$IMGCTL" map "${secret[@]}" --output=json "$@"
	expect_exit $check "$IMGCTL" check "${secret[@]}" "$@"
	expect_exit 0 "$IMGCTL" measure "${secret[@]}" -O qcow2 "$@"
	expect_exit 0 "$IMGCTL" bench "${secret[@]}" -q -c 20 "$@"
	expect_exit 0 "$IMGCTL" bench "${secret[@]}" -q -c 3 -w --pattern 7 \
		-o 1900k "$@"
	expect_exit 0 "$IMGCTL" convert "${secret[@]}" -O raw "$@" got.raw
	expect_exit 0 "$IMGCTL" compare "${secret[@]}" "$@" "${@: -1}"
}

for kind in $kinds; do
	make $kind disk
	each --image-opts "$(opts $kind disk)"
	holds got.raw $kind disk
	each "$(json $kind disk)"
	holds got.raw $kind disk
	if [ "$kind" != qcow-aes ]; then
		expect_exit 0 "$IMGCTL" resize "${secret[@]}" --image-opts \
			"$(opts $kind disk)" 3M
		expect_exit 0 "$IMGCTL" resize "${secret[@]}" --shrink \
			--image-opts "$(opts $kind disk)" 2M
	fi
	holds got.raw $kind disk
done

# Both layers are encrypted.
for kind in qcow2-luks qcow2-aes; do
	make $kind base
	expect_exit 0 "$IMGCTL" create "${secret[@]}" -u -f qcow2 \
		-o "${options[$kind]}" -b base -F qcow2 over 2M
	chain=$(opts $kind over),backing.encrypt.key-secret=s
	chain+=,backing.driver=qcow2,backing.file.filename=base
	expect_exit 0 qemu-io "${secret[@]}" "${changes[@]}" --image-opts "$chain"
	for tool in "$IMGCTL" qemu-img; do
		expect_exit 0 "$tool" compare "${secret[@]}" --image-opts "$chain" \
			driver=raw,file.filename=changed.raw
	done
	# Without its backing file it holds everything.
	cp over alone
	expect_exit 0 "$IMGCTL" rebase "${secret[@]}" -b '' --image-opts \
		"${chain/=over,/=alone,}"
	holds changed.raw $kind alone
	expect_exit 0 "$IMGCTL" commit "${secret[@]}" --image-opts "$chain"
	holds changed.raw $kind base
done
