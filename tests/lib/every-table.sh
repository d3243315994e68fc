# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# The table of every.sh: all formats and their main variants.
#
# A variant is a row of the table below.  What a row says is what must be: a
# format that cannot do something is said to refuse it, so a check that reads
# the row tests the refusal.  Each variant's image holds the bytes of an
# oracle, a raw file that the scripts make themselves.
#
#	made	new	convert makes it of the oracle
#		over	an overlay over an image of the same format
#		gen	another program makes it; it is only read
#	peer	does qemu-img 7.2 read it?
#	map	same	qemu-img's map is ours
#		alike	but for what else of the data is known to be zeroes
#		-	qemu-img cannot map it, or calls all of it data
#	check	exit code of check on an image without errors
#	theirs	the same of qemu-img; - where it does not read it
#	leaks	yes: space that was given up may be a leak for check afterwards
#	measure	exact	it says the length that the file will have
#		peer	it says what qemu-img does, enough for the file
#		most	what no file needs more than
#	resize	both	to more and to less
#		noise	both, and what is new does not read as zeroes
#		-	it is refused
#	backing	yes: it can name a backing file; ours: and qemu-img does not
#		read the overlay
#	key	the option that names its secret, or -

every_table()
{
	cat <<'END'
name          format    made peer map   check theirs leaks measure resize backing key
raw           raw       new  yes  same  63    63     -     peer    both   -       -
qcow2         qcow2     new  yes  alike 0     0      -     peer    both   yes     -
qcow2-v2      qcow2     new  yes  alike 0     0      -     peer    both   yes     -
qcow2-small   qcow2     new  yes  same  0     0      -     peer    both   yes     -
qcow2-sub     qcow2     new  yes  alike 0     0      -     peer    both   yes     -
qcow2-meta    qcow2     new  yes  alike 0     0      -     peer    both   yes     -
qcow2-data    qcow2     new  yes  alike 0     0      -     peer    both   yes     -
qcow2-luks    qcow2     new  yes  same  0     0      -     peer    both   yes     encrypt.key-secret
qcow2-aes     qcow2     new  yes  same  0     0      -     peer    both   yes     encrypt.key-secret
qcow2-over    qcow2     over yes  alike 0     0      -     peer    both   yes     -
qcow          qcow      new  yes  same  0     63     yes   exact   both   yes     -
qcow-aes      qcow      new  yes  same  0     63     yes   exact   both   yes     encrypt.key-secret
qcow-over     qcow      over yes  same  0     63     yes   exact   both   yes     -
qed           qed       new  yes  same  0     0      yes   exact   both   yes     -
qed-small     qed       new  yes  same  0     0      yes   exact   both   yes     -
qed-one       qed       new  -    -     0     -      yes   exact   both   yes     -
qed-over      qed       over yes  same  0     0      yes   exact   both   yes     -
vdi           vdi       new  yes  same  0     0      -     exact   both   -       -
vdi-static    vdi       new  yes  same  0     0      -     exact   both   -       -
vpc           vpc       new  yes  same  0     63     yes   exact   both   ours    -
vpc-fixed     vpc       new  yes  same  0     63     -     exact   both   -       -
vpc-over      vpc       over -    -     0     -      -     exact   both   ours    -
vhdx          vhdx      new  yes  -     0     0      -     exact   both   ours    -
vhdx-fixed    vhdx      new  yes  -     0     0      -     exact   both   -       -
vhdx-over     vhdx      over -    -     0     -      -     exact   both   ours    -
vmdk          vmdk      new  yes  same  0     0      -     exact   both   yes     -
vmdk-zeroed   vmdk      new  yes  same  0     0      -     exact   both   yes     -
vmdk-flat     vmdk      new  yes  same  0     0      -     most    both   -       -
vmdk-2gb      vmdk      new  yes  same  0     0      -     most    both   yes     -
vmdk-2gbflat  vmdk      new  yes  same  0     0      -     most    both   -       -
vmdk-stream   vmdk      new  yes  same  0     0      -     most    both   yes     -
vmdk-over     vmdk      over yes  alike 0     0      -     exact   both   yes     -
parallels     parallels new  yes  same  0     0      -     exact   both   -       -
luks          luks      new  yes  same  63    63     -     peer    noise  -       key-secret
bochs         bochs     gen  yes  -     0     63     -     -       -      -       -
cloop         cloop     gen  yes  -     0     63     -     -       -      -       -
dmg           dmg       gen  yes  -     0     63     -     -       -      -       -
END
}

# Create options of a variant.
every_options()
{
	case $1 in
	qcow2-v2) echo compat=0.10 ;;
	qcow2-small) echo cluster_size=512,refcount_bits=1 ;;
	qcow2-sub) echo extended_l2=on ;;
	qcow2-meta) echo preallocation=metadata ;;
	qcow2-data) echo data_file=disk.data ;;
	qcow2-luks) echo encrypt.format=luks,encrypt.key-secret=s,"$(
		)encrypt.iter-time=1" ;;
	qcow2-aes | qcow-aes) echo encrypt.format=aes,encrypt.key-secret=s ;;
	qed-one) echo table_size=1 ;; # QEMU makes it, and does not open it
	qed-small) echo cluster_size=4k,table_size=2 ;;
	vdi-static) echo static=on ;;
	vpc | vpc-over) echo force_size=on ;;
	vpc-fixed) echo force_size=on,subformat=fixed ;;
	vhdx | vhdx-over) echo block_size=1M ;;
	vhdx-fixed) echo block_size=1M,subformat=fixed ;;
	vmdk-zeroed) echo zeroed_grain=on ;;
	vmdk-flat) echo subformat=monolithicFlat ;;
	vmdk-2gb) echo subformat=twoGbMaxExtentSparse ;;
	vmdk-2gbflat) echo subformat=twoGbMaxExtentFlat ;;
	vmdk-stream) echo subformat=streamOptimized ;;
	luks) echo key-secret=s,iter-time=1 ;;
	esac
}

# load_variant NAME: its row becomes variables; and besides
#	$image		its file, in the folder where it is checked
#	options		arguments that make it
#	$opts		how it is opened with --image-opts
#	with, $it	how commands open it: their options, and the operand
load_variant()
{
	local row o
	row=$(every_table | grep "^$1 ") || fail "no variant $1"
	# shellcheck disable=SC2034
	read -r name format made peer map check theirs leaks measure resize \
		backing key <<<"$row"
	o=$(every_options "$1")
	options=(${o:+-o "$o"})
	image=disk.$format
	opts=driver=$format,file.filename=$image
	with=(-f "$format")
	it=$image
	if [ "$key" != - ]; then
		opts+=,$key=s
		with=("${secret[@]}" --image-opts)
		it=$opts
	fi
}
