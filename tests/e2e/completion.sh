#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# bash completion for imgctl and imgd: commands, options, formats, files.
. "$(dirname "$0")/../lib/e2e.sh"
needs "$IMGCTL" "$IMGD"
. "$SRC/contrib/completions/imgctl"
. "$SRC/contrib/completions/imgd"

compopt()
{
	:
}

# completes WANT WORD...: the last word is being typed.
completes()
{
	local want=$1
	shift
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	"_$(basename "$1")" "$1" "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
	[[ " ${COMPREPLY[*]} " == *" $want "* ]] ||
		fail "'$*' gives '${COMPREPLY[*]}', not $want"
}

touch picture.raw
completes create "$IMGCTL" cr
completes info "$IMGCTL" ''
completes --output= "$IMGCTL" info --ou
completes -b "$IMGCTL" create -
completes qcow2 "$IMGCTL" create -f q
completes cluster_size= "$IMGCTL" create -f qcow2 -o clus
completes pbkdf= "$IMGCTL" create -f luks -o pb
completes picture.raw "$IMGCTL" info pic
completes --pid-file= "$IMGD" --pi
completes -k "$IMGD" -
completes unmap "$IMGD" --discard u
completes unsafe "$IMGD" --cache = uns
completes tls-creds-x509,id= "$IMGD" --object = tls-creds-x
completes picture.raw "$IMGD" -r pic
