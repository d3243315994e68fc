#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl: signals.  INT and TERM end a command at any moment, and leave images
# that are whole; USR1 asks for progress.  A new command is a line in a table.
#
# In memory if there is room: waiting for a disk would be most of the time.
if [ "$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt 500000 ]; then
	export TMPDIR=/dev/shm
fi
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img qemu-io python3

# Commands that write an image in place, and what it may read as afterwards:
# what it read before, that or what a complete run makes of it, or anything.
in_place=(
	'top.qcow2   same   commit top.qcow2'
	'top.qcow2   same   commit -d top.qcow2'
	'top.qcow2   same   rebase -b other.qcow2 -F qcow2 top.qcow2'
	'top.qcow2   same   rebase -c -b other.qcow2 -F qcow2 top.qcow2'
	'top.qcow2   same   rebase -b "" top.qcow2'
	'top.qcow2   same   bitmap --add --merge b0 --clear top.qcow2 b1'
	'top.qcow2   same   bitmap --clear --disable top.qcow2 b0'
	'plain.qcow2 same   snapshot -c s2 plain.qcow2'
	'plain.qcow2 same   snapshot -d s1 plain.qcow2'
	'plain.qcow2 either snapshot -a s1 plain.qcow2'
	'plain.qcow2 either resize --preallocation=full plain.qcow2 16M'
	'plain.qcow2 either resize --shrink plain.qcow2 2M'
	'plain.qcow2 any    convert -n -O qcow2 other.qcow2 plain.qcow2'
	'plain.qcow2 any    bench -w --random -c 4000 --pattern 7 plain.qcow2'
	'plain.qcow2 same   amend -o refcount_bits=64 plain.qcow2'
	'plain.qcow2 same   amend -o compat=0.10 plain.qcow2'
	'leaky.qcow2 same   check -r leaks leaky.qcow2'
	'leaky.qcow2 same   check -r all leaky.qcow2'
	'plain.raw   either resize --preallocation=full -f raw plain.raw 64M'
)

# Commands that make `target` anew.
anew=(
	'convert -O qcow2 plain.qcow2 target'
	'convert -c -O qcow2 plain.qcow2 target'
	'convert -S 0 -t writeback -O raw plain.qcow2 target'
	'dd bs=64k if=plain.qcow2 of=target'
	'create -q -f qcow2 -o preallocation=full target 16M'
	'create -q -f raw -o preallocation=full target 16M'
)

# What is asked for progress, on work of a noticeable length.
long=(
	'convert -c -O qcow2 plain.qcow2 new'
	'dd if=plain.qcow2 of=new'
	'commit top.qcow2'
	'rebase -c -b other.qcow2 -F qcow2 top.qcow2'
	'compare plain.qcow2 plain.raw'
	'bench -c 100000 plain.qcow2'
	'resize --preallocation=full plain.qcow2 32M'
	'resize --preallocation=full -f raw plain.raw 128M'
	'measure -O qcow2 holes.qcow2'
	'check many.qcow2'
	'check -r all many.qcow2'
	'snapshot -c s2 many.qcow2'
	'snapshot -d s1 many.qcow2'
	'snapshot -a s1 many.qcow2'
)

# ---- images ------------------------------------------------------------------

len=4194304
mkdir store
cd store
random_file plain.raw $len
qemu-img convert -f raw -O qcow2 -o cluster_size=512 plain.raw plain.qcow2
qemu-img snapshot -c s1 plain.qcow2
qemu-io -c 'write -s plain.raw 1M 2M' plain.qcow2 >../io.log
random_file ../random $len 2
qemu-img convert -f raw -O qcow2 ../random base.qcow2
qemu-img bitmap --add base.qcow2 b0
random_file ../random $len 3
qemu-img convert -f raw -O qcow2 ../random other.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 -o cluster_size=512 top.qcow2
qemu-img bitmap --add top.qcow2 b0
qemu-io -c 'write -s ../random 1M 2M' top.qcow2 >../io.log
# Every other cluster, so that nothing is next to anything.
qemu-img create -q -f qcow2 -o cluster_size=512 holes.qcow2 4M
python3 -c 'for at in range(0, 4 << 20, 1024): print("write -q", at, 512)' |
	qemu-io holes.qcow2 >../io.log
# Many clusters, with little in them.
qemu-img create -q -f qcow2 -o cluster_size=512,preallocation=metadata \
	many.qcow2 128M
qemu-img snapshot -c s1 many.qcow2
# Half of the mapping is lost, and so what it led to leaks.
qemu-img convert -f raw -O qcow2 -o cluster_size=512 plain.raw leaky.qcow2
python3 - leaky.qcow2 <<'END2'
import struct, sys
with open(sys.argv[1], "r+b") as f:
    n, at = struct.unpack(">IQ", f.read(48)[36:])
    f.seek(at + n // 2 * 8)
    f.write(bytes(n // 2 * 8))
END2
qemu-img convert -O raw leaky.qcow2 ../leaky.qcow2.before
qemu-img convert -O raw top.qcow2 ../top.qcow2.before
qemu-img convert -O raw plain.qcow2 ../plain.qcow2.before
cp plain.raw ../plain.raw.before
cd ..
echo 'what stood there' >old

# Fresh files in work/: those that the command uses.
fresh()
{
	local f
	rm -rf work
	mkdir work
	cp old work/target
	for f in store/*; do
		f=${f#store/}
		[[ $1 != *$f* && ! ($1 == *top* && $f == base*) ]] ||
			cp "store/$f" work/
	done
}

# ---- running -----------------------------------------------------------------

# What is started here ignores it until it knows better.
trap '' USR1

# start COMMAND: in work/; sets $pid.  Background jobs of a script ignore INT, and
# what nohup runs HUP.
start()
{
	local words
	eval "words=($1)"
	: >err
	env -C work --default-signal=INT,TERM,HUP "$IMGCTL" "${words[@]}" >out 2>err &
	pid=$!
}

now_ms()
{
	echo $(($(date +%s%N) / 1000000))
}

# How long a complete run takes, into $took (ms); it has to succeed.
time_run()
{
	local from rc=0
	fresh "$1"
	from=$(now_ms)
	start "$1"
	wait "$pid" 2>jobs.log || rc=$?
	took=$(($(now_ms) - from))
	[ "$rc" = 0 ] || fail "$1: exit code $rc: $(cat err)"
}

# Signal $2 to the command $1 after $3 ms; sets $rc.
interrupt()
{
	fresh "$1"
	start "$1"
	sleep "$(printf '%d.%03d' $(($3 / 1000)) $(($3 % 1000)))"
	kill "-$2" "$pid" 2>/dev/null || true
	rc=0
	wait "$pid" 2>jobs.log || rc=$?
	[ "$rc" = 0 ] || [ "$rc" = $((128 + $(kill -l "$2"))) ] ||
		fail "$1: exit code $rc after $2: $(cat err)"
	[ "$rc" = 0 ] || interrupted=$((interrupted + 1))
}

# ---- judging -----------------------------------------------------------------

# All images are whole, or have leaks at worst, and no bitmap is lost.
sound()
{
	local f rc
	for f in work/*.qcow2; do
		[ -e "$f" ] || continue
		rc=0
		qemu-img check -q "$f" >check.log 2>&1 || rc=$?
		[ "$rc" = 0 ] || [ "$rc" = 3 ] ||
			fail "$1: $f: check says $rc: $(cat check.log)"
		qemu-img info "$f" >info.log
		if grep -q 'in-use' info.log; then
			fail "$1: $f: $(cat info.log)"
		fi
	done
	[ -z "$(find work -name '.*.??????')" ] || fail "$1: left behind"
}

reads_as()
{
	qemu-img compare -q "work/$1" "$2" 2>/dev/null
}

interrupted=0
for line in "${in_place[@]}"; do
	read -r file reads cmd <<<"$line"
	time_run "$cmd"
	[ "$reads" != either ] || qemu-img convert -O raw "work/$file" after
	for moment in 1 3 5; do
		for sig in INT TERM; do
			interrupt "$cmd" $sig $((took * moment / 6))
			sound "$cmd"
			case $reads in
			same) reads_as "$file" "$file.before" ;;
			either)
				reads_as "$file" "$file.before" ||
					reads_as "$file" after
				;;
			any) ;;
			esac || fail "$cmd: $file is another disk after $sig"
		done
	done
done
echo "$interrupted runs in place were interrupted"

interrupted=0
for cmd in "${anew[@]}"; do
	time_run "$cmd"
	qemu-img convert -O raw work/target after
	for moment in 1 3 5; do
		for sig in INT TERM KILL; do
			interrupt "$cmd" $sig $((took * moment / 6))
			[ $sig != KILL ] || rm -f work/.target.??????
			sound "$cmd"
			cmp -s old work/target || reads_as target after ||
				fail "$cmd: half a target after $sig"
		done
	done
done
echo "$interrupted runs that make a file were interrupted"

# ---- in the middle, for certain ----------------------------------------------

answered()
{
	grep -qE '^    \([0-9]+\.[0-9]{2}/100%\)$' err
}

asked()
{
	kill -USR1 "$pid" 2>/dev/null && sleep 0.1 && answered
}

for cmd in 'commit -r 128k top.qcow2' \
	'convert -n -r 128k -O qcow2 other.qcow2 plain.qcow2' \
	'convert -n -r 128k -O qcow2 other.qcow2 base.qcow2'; do
	for sig in INT TERM HUP; do
		fresh "$cmd"
		start "$cmd"
		sleep 0.3
		wait_until asked || fail "$cmd: no progress"
		from=$(now_ms)
		kill -$sig "$pid"
		kill -$sig "$pid" 2>/dev/null || true
		rc=0
		wait "$pid" 2>jobs.log || rc=$?
		[ "$rc" = $((128 + $(kill -l $sig))) ] || fail "$cmd: $rc"
		[ $(($(now_ms) - from)) -lt 5000 ] || fail "$cmd: it took long"
		sound "$cmd"
		[[ $cmd != commit* ]] || reads_as top.qcow2 top.qcow2.before ||
			fail "$cmd: another disk"
	done
done

# ---- progress ----------------------------------------------------------------

# A question may come too early or too late: so many, in several runs.
ask_until_answered()
{
	local try i
	for try in {1..10}; do
		fresh "$1"
		start "$1"
		while kill -USR1 "$pid" 2>/dev/null; do
			for i in {1..50}; do
				kill -USR1 "$pid" 2>/dev/null || break
			done
			! answered || kill -TERM "$pid" 2>/dev/null || break
		done
		wait "$pid" 2>jobs.log || true
		if answered; then
			return 0
		fi
	done
	return 1
}

for cmd in "${long[@]}"; do
	ask_until_answered "$cmd" || fail "$cmd: no answer to USR1"
	if grep -qvE '^    \([0-9]+\.[0-9]{2}/100%\)$|^imgctl: .*stopped$' err; then
		fail "$cmd: $(cat err)"
	fi
done
echo "all of ${#long[@]} commands told their progress"
