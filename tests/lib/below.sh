# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# An image that is on nbdkit, which tells what it was asked.  Sourced after
# e2e.sh.

# start_below ARGS...: nbdkit with ARGS and a log, $TMP/requests; sets $below,
# its URI.
start_below()
{
	start_nbdkit --filter=log "$@" logfile="$TMP/requests"
	below=$URI
}

# durable PYTHON START ARGS...: a client of START ARGS... does so; sets $n, the
# number of requests below that make something durable, until it has an answer.
durable()
{
	local did=$1
	shift
	"$@"
	expect_exit 0 nbdsh -u "$URI" -c 'open("requests", "w")' -c "$did" -c '
import re
print(len(re.findall(r"Flush .*[.][.][.]|(?:Write|Zero|Trim) .*fua=1",
                     open("requests").read())))'
	stop_server
	n=$(cat out)
}
